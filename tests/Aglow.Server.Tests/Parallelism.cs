// These tests mostly wait, for leases, timeouts and processes. So four of them run at the same time, twice the usual number of cores.
[assembly: CollectionBehavior(MaxParallelThreads = 4)]
