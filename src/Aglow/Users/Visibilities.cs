using System.Collections.Concurrent;
using System.Numerics;
using Aglow.Model;
using Aglow.Queries;

namespace Aglow.Users;

/// <summary>
/// What users show of themselves, in memory on every node, and the one place where what is told of a user is cut down to what its viewer may see: statuses, batches, packed words,
/// searches, lists, counts, streams and sockets all come through <see cref="Show"/>.
/// </summary>
/// <remarks>
/// Stands after the <see cref="StatusReader"/> has read what is true, and never on a heartbeat's way. While nobody has set anything it costs a field read, and a bit of each user who has not
/// where others have. Loaded from the <see cref="IUserDirectory"/> at start, written after the directory has it on disk: where nodes share one, by <see cref="DirectoryNews"/> and nobody else.
/// An entry is 4 bytes for each user who was approved or blocked, and some 150 besides.
/// The rejected alternative, asking the directory at each read, would make every status of somebody who hides take longer than that of somebody who does not. Any thread.
/// </remarks>
public sealed class Visibilities(bool isReciprocal) : IDisposable
{
    private readonly ConcurrentDictionary<uint, Visibility> _byUser = new();
    private readonly UserBits _set = new();
    private readonly UserBits _notToEveryone = new();
    // writes are one at a time
    private readonly Lock _gate = new();
    private int _count;

    /// <summary>Whether nobody sees more of others than they show them: then what a user shows decides what they see.</summary>
    public bool IsReciprocal { get; } = isReciprocal;

    /// <summary>Whether nobody has set anything.</summary>
    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>The users who have set something, in no order.</summary>
    public IEnumerable<uint> Users => _byUser.Select(static e => e.Key);

    /// <summary>What a user shows.</summary>
    public Visibility Of(uint user) => IsEmpty ? Visibility.Default : _byUser.GetValueOrDefault(user, Visibility.Default);

    /// <summary>What a viewer sees of a user; <see cref="UserId.Nobody"/> is a stranger.</summary>
    public Sight Between(uint viewer, uint user)
    {
        if (IsEmpty || viewer == user || !(_set.Contains(user) || (IsReciprocal && _set.Contains(viewer))))
            return Sight.All;
        return Visibility.Between(viewer, Of(viewer), user, Of(user), IsReciprocal);
    }

    /// <summary>What is told to a viewer of a user of whom this is true at a second.</summary>
    public Presence Show(uint viewer, uint user, Presence truth, ulong now) => Between(viewer, user) switch
    {
        Sight.All => truth,
        Sight.Coarse => new Presence(truth.Status, 0, About(truth.LastSeen, now), truth.Devices, Said: truth.Said),
        Sight.StatusOnly => new Presence(truth.Status, 0, Devices: truth.Devices, Said: truth.Said),
        _ => default,
    };

    /// <summary>Whether everyone may see that this user is online; counts are of those.</summary>
    public bool IsShownToEveryone(uint user) => IsEmpty || !_notToEveryone.Contains(user);

    /// <summary>Of a page, who may not be seen online by everyone, in groups of 64; empty where that is nobody.</summary>
    internal ReadOnlySpan<ulong> NotToEveryone(int page) => _notToEveryone.Count == 0 ? default : _notToEveryone.Groups(page);

    /// <summary>How many of those believed online are not shown to everyone.</summary>
    public long CountNotToEveryone(UserBits online)
    {
        if (_notToEveryone.Count == 0)
            return 0;
        var count = 0L;
        for (var page = 0; page < PageLayout.Pages; page++)
        {
            var hidden = NotToEveryone(page);
            var there = online.Groups(page);
            if (hidden.IsEmpty || there.IsEmpty)
                continue;
            for (var group = 0; group < hidden.Length; group++)
                count += BitOperations.PopCount(Volatile.Read(in hidden[group]) & Volatile.Read(in there[group]));
        }

        return count;
    }

    /// <summary>Sets what a user shows; returns whether that is a change. Callers order their calls for one user.</summary>
    public bool Set(uint user, Visibility visibility)
    {
        lock (_gate)
        {
            var was = _byUser.GetValueOrDefault(user, Visibility.Default);
            if (visibility.IsSameAs(was))
                return false;
            if (visibility.IsDefault)
                _byUser.TryRemove(user, out _);
            else
                _byUser[user] = visibility;
            // after what it stands for
            _set.Set(user, !visibility.IsDefault);
            _notToEveryone.Set(user, visibility.Online != OnlineVisibility.Everyone);
            Volatile.Write(ref _count, _count + (visibility.IsDefault ? 0 : 1) - (was.IsDefault ? 0 : 1));
            return true;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _set.Dispose();
        _notToEveryone.Dispose();
    }

    // "Recently" is three days, so that it does not say whether somebody was here today.
    private static LastSeenAbout About(uint lastSeen, ulong now) => lastSeen == 0 ? LastSeenAbout.Unknown : ((long)now - lastSeen) switch
    {
        <= 3 * 86_400 => LastSeenAbout.Recently,
        <= 7 * 86_400 => LastSeenAbout.ThisWeek,
        <= 30 * 86_400 => LastSeenAbout.ThisMonth,
        _ => LastSeenAbout.LongAgo,
    };
}
