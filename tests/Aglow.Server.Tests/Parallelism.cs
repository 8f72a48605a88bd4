// These tests mostly wait, for leases, timeouts and processes. So twice as many run beside each other as there are usually cores.
[assembly: CollectionBehavior(MaxParallelThreads = 4)]
