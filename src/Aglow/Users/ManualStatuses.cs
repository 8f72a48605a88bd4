using System.Collections.Concurrent;
using Aglow.Model;

namespace Aglow.Users;

/// <summary>
/// All manual statuses there are, in memory on every node: who never chose one costs a single field read.
/// </summary>
/// <remarks>Loaded from the <see cref="IUserDirectory"/> at start, written after the directory has it on disk. Any thread.</remarks>
public sealed class ManualStatuses
{
    private readonly ConcurrentDictionary<uint, ManualStatus> _byUser = new();
    // what the disabled chose before, and choose meanwhile: it is theirs again when they are enabled
    private readonly ConcurrentDictionary<uint, ManualStatus> _ofDisabled = new();
    private int _count;
    private int _hidden;

    /// <summary>Whether nobody has one.</summary>
    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>Users who appear offline by choice.</summary>
    public int HiddenCount => Volatile.Read(ref _hidden);

    /// <summary>The manual status of a user; <see cref="ManualStatus.Auto"/> where there is none.</summary>
    public ManualStatus Of(uint user) => IsEmpty ? ManualStatus.Auto : _byUser.GetValueOrDefault(user);

    /// <summary>The users who appear offline by choice, in no order.</summary>
    public IEnumerable<uint> Hidden => _byUser.Where(static e => e.Value.Kind == ManualStatusKind.Hidden).Select(static e => e.Key);

    /// <summary>The users who chose one, in no order.</summary>
    public IEnumerable<uint> Users => _byUser.Select(static e => e.Key).Union(_ofDisabled.Select(static e => e.Key)).Where(user => ChosenBy(user) != ManualStatus.Auto);

    /// <summary>What a user chose, also while they are disabled and shown offline.</summary>
    public ManualStatus ChosenBy(uint user) => _ofDisabled.TryGetValue(user, out var chosen) ? chosen : Of(user);

    /// <summary>Shows a disabled user offline, with the last seen of their account, whatever they chose. Callers order their calls for one user.</summary>
    public void Disable(uint user, uint shownLastSeen)
    {
        _ofDisabled.TryAdd(user, Of(user));
        Put(user, new ManualStatus(ManualStatusKind.Hidden, shownLastSeen, IsDisabled: true));
    }

    /// <summary>Shows a user who is enabled again as they chose.</summary>
    public void Enable(uint user)
    {
        if (_ofDisabled.TryRemove(user, out var chosen))
            Put(user, chosen);
    }

    /// <summary>Sets or (auto) removes one; returns what was. Callers order their calls for one user.</summary>
    public ManualStatus Set(uint user, ManualStatus status)
    {
        if (!_ofDisabled.TryGetValue(user, out var chosen))
            return Put(user, status);
        _ofDisabled[user] = status;
        return chosen;
    }

    private ManualStatus Put(uint user, ManualStatus status)
    {
        ManualStatus was;
        if (status.Kind == ManualStatusKind.Auto)
        {
            _byUser.TryRemove(user, out was);
        }
        else
        {
            was = _byUser.GetValueOrDefault(user);
            _byUser[user] = status;
        }

        Interlocked.Add(ref _count, (status.Kind != ManualStatusKind.Auto ? 1 : 0) - (was.Kind != ManualStatusKind.Auto ? 1 : 0));
        Interlocked.Add(ref _hidden, (status.Kind == ManualStatusKind.Hidden ? 1 : 0) - (was.Kind == ManualStatusKind.Hidden ? 1 : 0));
        return was;
    }
}
