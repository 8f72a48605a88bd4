using Aglow.Model;

namespace Aglow.Watching;

/// <summary>
/// What is watched: one user, under one definition, in one form. All who watch it share one encoding of each change.
/// </summary>
/// <remarks>
/// Owned by the <see cref="WatchHub"/>'s loop. A watcher is a 64-bit word: connection id in the high half, the watch's index in that
/// connection's <see cref="Outbox"/> in the low; 8 bytes a watch here and 4 there, so about 16 with the slack of growing.
/// </remarks>
internal sealed class Topic(uint user, Definition definition, UserForm form, byte[]? idJson)
{
    private ulong[] _watchers = [];
    private int _count;

    /// <summary>The number; <see cref="UserId.Nobody"/> while nobody has registered the key.</summary>
    public uint User { get; set; } = user;

    /// <summary>The key, while nobody has registered it; then null.</summary>
    public string? UnknownKey { get; set; }

    /// <summary>What "online" means here.</summary>
    public Definition Definition { get; } = definition;

    /// <summary>The form to echo.</summary>
    public UserForm Form { get; } = form;

    /// <summary>The ID as JSON, where it is not its own index; others are written when needed.</summary>
    public byte[]? IdJson { get; } = idJson;

    /// <summary>The next topic of the same user (another definition or form); -1 for none.</summary>
    public int NextOfUser { get; set; } = -1;

    /// <summary>What watchers were last told, or are about to be.</summary>
    public Presence Told { get; set; }

    /// <summary>Whether <see cref="Told"/> was ever read.</summary>
    public bool IsKnown { get; set; }

    /// <summary>Whether the store has lost the page of its words: it is read when that is back.</summary>
    public bool IsAway { get; set; }

    /// <summary>Whether it is queued to be read in this round.</summary>
    public bool IsQueued { get; set; }

    /// <summary>Whether going offline, if that is what the read says, is to be confirmed a second later.</summary>
    public bool IsGentle { get; set; }

    /// <summary>The second at which the claims of the user change by themselves; 0: never. Its entry in <see cref="ClaimEnds"/> is the one that counts.</summary>
    public uint ClaimChangesAt { get; set; }

    /// <summary>Whether a goodbye is being confirmed: until then nothing but coming online is told.</summary>
    public bool IsConfirming { get; set; }

    /// <summary>The timestamp of the hint for which it is queued; 0: nothing was heard, it is its turn to be read again.</summary>
    public long HeardAt { get; set; }

    /// <summary>The round in which <see cref="EncodedAt"/> is good.</summary>
    public long EncodedRound { get; set; } = -1;

    /// <summary>Where the round's buffer has the record.</summary>
    public (int Offset, int Length) EncodedAt { get; set; }

    /// <summary>Who watches.</summary>
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

    /// <summary>Writes this topic's record, with what is told; returns its length.</summary>
    public int Write(Span<byte> into, Presence told)
    {
        if (IdJson is not null)
            return PresenceRecord.Write(into, IdJson, told);
        Span<byte> id = stackalloc byte[PresenceRecord.MaxNumberBytes];
        var quote = Form == UserForm.Digits ? 1 : 0;
        id[0] = (byte)'"';
        var length = PresenceRecord.WriteNumber(id[quote..], User) + quote;
        if (quote == 1)
            id[length++] = (byte)'"';
        return PresenceRecord.Write(into, id[..length], told);
    }

    /// <summary>The most bytes <see cref="Write"/> needs.</summary>
    public int MaxBytes(Presence told) => PresenceRecord.MaxBytesBesideId(told) + (IdJson?.Length ?? PresenceRecord.MaxNumberBytes);
}
