// A run of the fuzzer looks for leaks in the memory of this process, so nothing else may run beside it.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
