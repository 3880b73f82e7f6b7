"""What compiling has brought: time, memory and operations of a step, in each way of running it."""
