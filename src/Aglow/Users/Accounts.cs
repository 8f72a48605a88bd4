using System.Collections.Concurrent;
using Aglow.Model;

namespace Aglow.Users;

/// <summary>All accounts about which something was decided, in memory on every node: who was never disabled or revoked costs a field read.</summary>
/// <remarks>
/// Loaded from the <see cref="IUserDirectory"/> at start and written after the directory has it on disk; where nodes share one, by
/// <see cref="DirectoryNews"/> and nobody else. An entry takes some 60 bytes; one stays for each user who was ever deleted or revoked, so
/// that old tokens stay refused. Any thread; callers order their calls for one user.
/// </remarks>
public sealed class Accounts
{
    private readonly ConcurrentDictionary<uint, Account> _byUser = new();
    private int _version;

    /// <summary>Raised after an account changed, with the user, what it was and what it is. Handlers return at once.</summary>
    public event Action<uint, Account, Account>? Changed;

    /// <summary>The users about whom something was decided, in no order.</summary>
    public IEnumerable<uint> Users => _byUser.Select(static a => a.Key);

    /// <summary>Another number after every change; 0 where nothing was ever decided.</summary>
    public int Version => Volatile.Read(ref _version);

    /// <summary>The account of a user.</summary>
    public Account Of(uint user) => Version == 0 ? default : _byUser.GetValueOrDefault(user);

    /// <summary>Sets an account, and tells who listens where that is a change.</summary>
    public void Set(uint user, Account account)
    {
        var was = _byUser.GetValueOrDefault(user);
        if (was == account)
            return;
        if (account == Account.Default)
            _byUser.TryRemove(user, out _);
        else
            _byUser[user] = account;
        Interlocked.Increment(ref _version);
        Changed?.Invoke(user, was, account);
    }

    /// <summary>Those deleted, with the second (since 1970-01-01 UTC) at which.</summary>
    public IEnumerable<KeyValuePair<uint, long>> Deleted => _byUser.Where(static a => a.Value.IsDeleted).Select(static a => KeyValuePair.Create(a.Key, a.Value.RevokedAt));
}
