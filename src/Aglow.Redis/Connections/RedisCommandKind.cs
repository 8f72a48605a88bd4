namespace Aglow.Redis.Connections;

/// <summary>What a command does. This selects its connection, and what its answer shows about the shard.</summary>
internal enum RedisCommandKind
{
    /// <summary>Reads something short, or publishes.</summary>
    Read,

    /// <summary>Reads something long, on a separate connection.</summary>
    LongRead,

    /// <summary>
    /// Deletes, or runs a script. A server that is out of memory may carry it out, so its answer does not show that words can be written.
    /// </summary>
    Script,

    /// <summary>Writes, and needs memory of the server.</summary>
    Write,
}

/// <summary>An answer, and whether an earlier attempt whose answer was lost may have carried the command out.</summary>
internal readonly record struct RedisReply<T>(T Value, bool MayHaveRun);
