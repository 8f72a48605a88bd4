using System.Collections.Concurrent;

namespace Aglow.Users;

/// <summary>
/// All accounts with a decision (disabled, revoked, deleted), in memory on every node. For other users a lookup costs one field read.
/// </summary>
/// <remarks>
/// Loaded from the <see cref="IUserDirectory"/> at start. A change is written here after the directory has it on disk; with a shared
/// directory, only <c>DirectoryNews</c> writes here. An entry takes some 60 bytes. It stays for each user who was ever deleted or
/// revoked, so that old tokens stay refused. Any thread; callers order their calls for one user.
/// </remarks>
public sealed class Accounts
{
    private readonly ConcurrentDictionary<uint, Account> _byUser = new();
    private int _version;
    private int _disabledCount;

    /// <summary>Raised after an account changed, with the user, the old account and the new one. Handlers return at once.</summary>
    public event Action<uint, Account, Account>? Changed;

    /// <summary>The users with a decision, in any order.</summary>
    internal IEnumerable<uint> Users => _byUser.Select(static a => a.Key);

    /// <summary>Changes with every change of an account; 0 if there never was a decision.</summary>
    public int Version => Volatile.Read(ref _version);

    /// <summary>The account of a user.</summary>
    public Account Of(uint user) => Version == 0 ? default : _byUser.GetValueOrDefault(user);

    /// <summary>Whether certainly no user is disabled.</summary>
    public bool IsNobodyDisabled => Volatile.Read(ref _disabledCount) == 0;

    /// <summary>Whether a user is disabled.</summary>
    public bool IsDisabled(uint user) => !IsNobodyDisabled && Of(user).IsDisabled;

    /// <summary>Whether one of these users is disabled.</summary>
    internal bool IsAnyDisabled(ReadOnlySpan<uint> users)
    {
        if (IsNobodyDisabled)
            return false;
        foreach (var user in users)
        {
            if (IsDisabled(user))
                return true;
        }

        return false;
    }

    /// <summary>Sets an account, and raises the event if it changed.</summary>
    internal void Set(uint user, Account account)
    {
        var was = _byUser.GetValueOrDefault(user);
        if (was == account)
            return;
        if (account == Account.Default)
            _byUser.TryRemove(user, out _);
        else
            _byUser[user] = account;
        if (was.IsDisabled != account.IsDisabled)
            Interlocked.Add(ref _disabledCount, account.IsDisabled ? 1 : -1);
        Interlocked.Increment(ref _version);
        Changed?.Invoke(user, was, account);
    }

    /// <summary>The users whose deletion has begun, but has not ended.</summary>
    internal IEnumerable<uint> Deleting => _byUser.Where(static a => a.Value.IsDeleting).Select(static a => a.Key);
}
