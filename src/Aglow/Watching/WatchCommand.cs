using Aglow.Heartbeats;
using Aglow.Model;

namespace Aglow.Watching;

/// <summary>What is asked of a <see cref="WatchHub"/>'s loop.</summary>
internal enum WatchCommandKind : byte
{
    /// <summary>A connection is there; the payload is what it is told first.</summary>
    Open,

    /// <summary>A connection is gone.</summary>
    Close,

    /// <summary>A connection's transport has room again.</summary>
    Writable,

    /// <summary>A connection is told the payload, in its order.</summary>
    Tell,

    /// <summary>A connection is told the payload, which answers a message of its own: it waits while the transport is full.</summary>
    Reply,

    /// <summary>A ping is answered with the payload.</summary>
    Answer,

    /// <summary>
    /// Everybody is sent elsewhere, each at a time of their own within <see cref="WatchCommand.Count"/> milliseconds: ended then, and the payload completed when nobody is left; or, without one, at once.
    /// </summary>
    Drain,

    /// <summary>A connection is ended with <see cref="WatchCommand.Code"/>.</summary>
    End,

    /// <summary>A connection watches the payload's users.</summary>
    Watch,

    /// <summary>A connection watches the payload's users no more.</summary>
    Unwatch,

    /// <summary>The payload's first <see cref="WatchCommand.Count"/> users may have changed; the array is the shared pool's.</summary>
    Hint,

    /// <summary><see cref="WatchCommand.User"/> shows more or less than before, or sees so.</summary>
    Resight,

    /// <summary>The payload, a key, is <see cref="WatchCommand.User"/> from now on.</summary>
    Bind,

    /// <summary>The payload's task is completed with the keys that nobody registered yet.</summary>
    ListUnknownKeys,
}

/// <summary>
/// One thing asked of a <see cref="WatchHub"/>'s loop, by any thread. <paramref name="HeardAt"/>: the timestamp at which a hint was heard. <paramref name="Id"/>: the id
/// that the answer carries back.
/// </summary>
internal readonly record struct WatchCommand(
    WatchCommandKind Kind,
    WatchConnection? Connection,
    object? Payload = null,
    Definition? Definition = null,
    int Count = 0,
    uint User = 0,
    int Code = 0,
    TransitionKind Transition = default,
    long HeardAt = 0,
    long? Id = null);
