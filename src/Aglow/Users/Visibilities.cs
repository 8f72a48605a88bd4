using System.Collections.Concurrent;
using System.Numerics;
using Aglow.Queries;

namespace Aglow.Users;

/// <summary>
/// What users show, in memory on every node. <see cref="Show"/> is the only place that limits answers to what the viewer may see.
/// </summary>
/// <remarks>
/// Statuses, batches, packed words, searches, lists, counts, streams and sockets all pass through it, after the <see cref="StatusReader"/>
/// has read the full status. Heartbeats never do. While no user has settings, it costs a field read. Otherwise a user without settings
/// costs the read of one bit.
/// Loaded from the <see cref="IUserDirectory"/> at start. A change is written here after the directory has it on disk; with a shared
/// directory, only <c>DirectoryNews</c> writes here. An entry takes some 150 bytes, and 4 for each approved or blocked user.
/// Rejected: to ask the directory at each read. The status of a user who hides would take longer than others, which would reveal that they
/// hide. Any thread.
/// </remarks>
public sealed class Visibilities(bool isReciprocal) : IDisposable
{
    private readonly ConcurrentDictionary<uint, Visibility> _byUser = new();
    private readonly UserBits _set = new();
    private readonly UserBits _notToEveryone = new();
    // writes are one at a time
    private readonly Lock _gate = new();
    private int _count;

    /// <summary>Whether users see no more of others than they show to those others.</summary>
    public bool IsReciprocal { get; } = isReciprocal;

    /// <summary>Whether no user has settings.</summary>
    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>The users with settings, in any order.</summary>
    internal IEnumerable<uint> Users => _byUser.Select(static e => e.Key);

    /// <summary>What a user shows.</summary>
    public Visibility Of(uint user) => IsEmpty ? Visibility.Default : _byUser.GetValueOrDefault(user, Visibility.Default);

    /// <summary>What a viewer sees of a user; <see cref="UserId.Nobody"/> is a stranger.</summary>
    public Sight Between(uint viewer, uint user)
    {
        if (IsEmpty || viewer == user || !(_set.Contains(user) || (IsReciprocal && _set.Contains(viewer))))
            return Sight.All;
        return Visibility.Between(viewer, Of(viewer), user, Of(user), IsReciprocal);
    }

    /// <summary>Limits a user's presence at a second to what a viewer may see.</summary>
    public Presence Show(uint viewer, uint user, Presence truth, ulong now) => Between(viewer, user) switch
    {
        Sight.All => truth,
        Sight.Coarse => new Presence(truth.Status, 0, About(truth.LastSeen, now), truth.Devices, Details: truth.Details),
        Sight.StatusOnly => new Presence(truth.Status, 0, Devices: truth.Devices, Details: truth.Details),
        _ => default,
    };

    /// <summary>Whether everyone may see that this user is online. Counts include only such users.</summary>
    public bool IsShownToEveryone(uint user) => IsEmpty || !_notToEveryone.Contains(user);

    /// <summary>The users of a page whom not everyone may see online, in groups of 64; empty if there are none.</summary>
    internal ReadOnlySpan<ulong> NotToEveryone(int page) => _notToEveryone.Count == 0 ? default : _notToEveryone.Groups(page);

    /// <summary>How many users who are believed online are not visible to everyone.</summary>
    internal long CountNotToEveryone(UserBits online)
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

    /// <summary>Sets what a user shows; returns whether it changed. Callers order their calls for one user.</summary>
    internal bool Set(uint user, Visibility visibility)
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
            // sets the bits last, because readers who see a bit expect the entry
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

    // "Recently" is three days, so that it does not reveal whether the user was here today.
    private static LastSeenAbout About(uint lastSeen, ulong now) => lastSeen == 0 ? LastSeenAbout.Unknown : ((long)now - lastSeen) switch
    {
        <= 3 * 86_400 => LastSeenAbout.Recently,
        <= 7 * 86_400 => LastSeenAbout.ThisWeek,
        <= 30 * 86_400 => LastSeenAbout.ThisMonth,
        _ => LastSeenAbout.LongAgo,
    };
}
