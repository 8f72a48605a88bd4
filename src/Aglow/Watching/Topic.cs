namespace Aglow.Watching;

/// <summary>
/// A watched user under one definition, in one form of the ID. All its watchers share one encoding of each change.
/// </summary>
/// <remarks>
/// A watcher is a 64-bit word: the connection id in the high half, the watch's index in the connection's <see cref="Outbox"/> in the low
/// half. A watch takes 8 bytes here and 4 in the outbox: about 16 with the unused parts of the arrays. The <see cref="WatchHub"/>'s loop
/// owns it.
/// </remarks>
internal sealed class Topic(uint user, Definition definition, UserForm form, byte[]? idJson)
{
    private ulong[] _watchers = [];
    private int _count;

    /// <summary>The index of the user; <see cref="UserId.Nobody"/> while the ID has none.</summary>
    public uint User { get; set; } = user;

    /// <summary>The ID while it has no index; null as soon as it has one.</summary>
    public string? UnknownKey { get; set; }

    public Definition Definition { get; } = definition;

    public UserForm Form { get; } = form;

    /// <summary>The ID as JSON; null if the ID is an integer that is its own index: such an ID is written when needed.</summary>
    public byte[]? IdJson { get; } = idJson;

    /// <summary>The next topic of the same user (another definition or form); -1 for none.</summary>
    public int NextOfUser { get; set; } = -1;

    /// <summary>What watchers received last, or are about to receive.</summary>
    public Presence LastSent { get; set; }

    /// <summary>Whether <see cref="LastSent"/> was read at least once.</summary>
    public bool IsKnown { get; set; }

    /// <summary>Whether the store has lost the page of the user's words. They are read when it is back.</summary>
    public bool IsAway { get; set; }

    /// <summary>Whether its page is back, but it has not been read since.</summary>
    public bool IsReturning { get; set; }

    /// <summary>Whether it is queued to be read in this round.</summary>
    public bool IsQueued { get; set; }

    /// <summary>Whether another read a second later must confirm that the user went offline.</summary>
    public bool IsGentle { get; set; }

    /// <summary>Whether a leave is being confirmed. Meanwhile, only coming online is sent.</summary>
    public bool IsConfirming { get; set; }

    /// <summary>The timestamp of the hint that queued it; 0: no hint, only the periodic read.</summary>
    public long HintedAt { get; set; }

    /// <summary>The round of the <see cref="DeltaWriter"/>'s buffer for which <see cref="EncodedAt"/> is valid.</summary>
    public long EncodedRound { get; set; } = -1;

    /// <summary>The place of the record in the buffer.</summary>
    public (int Offset, int Length) EncodedAt { get; set; }

    public ReadOnlySpan<ulong> Watchers => _watchers.AsSpan(0, _count);

    public static ulong Watcher(int connection, int index) => ((ulong)(uint)connection << 32) | (uint)index;

    public static int ConnectionOf(ulong watcher) => (int)(watcher >> 32);

    public static int IndexOf(ulong watcher) => (int)(uint)watcher;

    public void Add(ulong watcher)
    {
        if (_count == _watchers.Length)
            Array.Resize(ref _watchers, Math.Max(2, _count + (_count / 4) + 1));
        _watchers[_count++] = watcher;
    }

    /// <summary>Removes a watcher; false when it was the last.</summary>
    public bool Remove(ulong watcher)
    {
        var at = Watchers.IndexOf(watcher);
        if (at >= 0)
            _watchers[at] = _watchers[--_count];
        if (_watchers.Length > 16 && _count < _watchers.Length / 4)
            Array.Resize(ref _watchers, _count * 2);
        return _count > 0;
    }

    /// <summary>Writes this topic's record with this presence; returns its length.</summary>
    public int Write(Span<byte> into, Presence presence)
    {
        if (IdJson is not null)
            return PresenceRecord.Write(into, IdJson, presence);
        Span<byte> id = stackalloc byte[PresenceRecord.MaxNumberBytes];
        var quote = Form == UserForm.Digits ? 1 : 0;
        id[0] = (byte)'"';
        var length = PresenceRecord.WriteNumber(id[quote..], User) + quote;
        if (quote == 1)
            id[length++] = (byte)'"';
        return PresenceRecord.Write(into, id[..length], presence);
    }

    /// <summary>The most bytes <see cref="Write"/> needs.</summary>
    public int MaxBytes(Presence presence) => PresenceRecord.MaxBytesBesideId(presence) + (IdJson?.Length ?? PresenceRecord.MaxNumberBytes);
}
