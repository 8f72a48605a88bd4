namespace Aglow.Redis;

/// <summary>What a command does, and so which connection it takes and what its answer says of a shard.</summary>
internal enum RedisCommandKind
{
    /// <summary>Reads something short, or publishes.</summary>
    Read,

    /// <summary>Reads something long: on a connection of its own.</summary>
    LongRead,

    /// <summary>Writes.</summary>
    Write,
}

/// <summary>An answer, and whether the command may have been carried out before, with an answer that was lost.</summary>
internal readonly record struct RedisReply<T>(T Value, bool MayHaveRun);
