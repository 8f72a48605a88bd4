namespace Aglow.Durable;

/// <summary>The kind of a row of the journal.</summary>
internal enum RowKind : byte
{
    Pulse = 0,

    Activity = 1,

    /// <summary>
    /// A start after more than the lease: every user who was online is offline now. The row has one entry of two seconds: the end of the
    /// run before the interrupted one, and the last seen that users heard after that end got (0: words were exact).
    /// </summary>
    Resumed = 2,

    /// <summary>A start within the lease after a crash, with the same entry: users who were online stay online.</summary>
    Continued = 3,
}

/// <summary>The state of the file, which tells the next start about the last run.</summary>
/// <param name="Tick">The last second at which the node noted that it was alive. A row of the journal may be later.</param>
/// <param name="IsClean">Whether the last run stopped cleanly, so that words are exact.</param>
/// <param name="Images">The number of page images.</param>
/// <param name="Trimmed">The position of the last deleted row. The journal begins with the next one.</param>
/// <param name="Since">The end of the run before the last. A user without a later word was not heard in the last run.</param>
internal readonly record struct FileState(uint Tick, bool IsClean, int Images, long Trimmed, uint Since);

/// <summary>Receives a row of the journal. The entries (user, word, user, word, ...) are valid only during the call.</summary>
internal delegate void RowVisitor(long position, RowKind kind, uint oldest, ReadOnlySpan<uint> entries);

/// <summary>Receives a page image. The words are valid only during the call; the remaining words of the page are zero.</summary>
internal delegate void ImageVisitor(Plane plane, int page, long position, uint oldest, ReadOnlySpan<uint> words);
