using Aglow.Heartbeats;

namespace Aglow.Watching;

/// <summary>The kinds of commands for a <see cref="WatchHub"/>'s loop.</summary>
internal enum WatchCommandKind : byte
{
    /// <summary>A connection opened; send it the payload first.</summary>
    Open,

    /// <summary>A connection closed.</summary>
    Close,

    /// <summary>A connection's transport has room again.</summary>
    Writable,

    /// <summary>Send a connection the payload, in the order of its commands.</summary>
    Send,

    /// <summary>Send a connection the payload, which answers one of its messages. It waits while the transport is full.</summary>
    Reply,

    /// <summary>Answer a ping with the payload.</summary>
    Answer,

    /// <summary>Close a connection with <see cref="WatchCommand.Code"/>.</summary>
    End,

    /// <summary>A connection watches the payload's users.</summary>
    Watch,

    /// <summary>A connection no longer watches the payload's users.</summary>
    Unwatch,

    /// <summary>
    /// The payload's first <see cref="WatchCommand.Count"/> users may have changed; the array belongs to the shared pool.
    /// </summary>
    Hint,

    /// <summary>Run the payload, an action. For what is rare.</summary>
    Run,
}

/// <summary>
/// One command for a <see cref="WatchHub"/>'s loop, from any thread. <paramref name="HintedAt"/>: the timestamp of a hint.
/// <paramref name="Id"/>: the id that the answer repeats.
/// </summary>
internal readonly record struct WatchCommand(
    WatchCommandKind Kind,
    WatchConnection? Connection,
    object? Payload = null,
    Definition? Definition = null,
    int Count = 0,
    int Code = 0,
    TransitionKind Transition = default,
    long HintedAt = 0,
    long? Id = null);
