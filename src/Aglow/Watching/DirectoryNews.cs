using Aglow.Heartbeats;
using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// Applies changes of a shared directory on this node: claims, visibility, accounts, and new IDs that a connection here waits for.
/// </summary>
/// <remarks>
/// <code>
///   IUserDirectory.Changed ─► visibilities      ─► Visibilities, and watchers of these users here
///                          ├► claims            ─► Claims, and watchers of these users here
///                          ├► accounts          ─► Accounts, which closes their connections here
///                          └► new registrations ─► watched IDs that had no index ─► WatchHub binds them
/// </code>
/// Words do not pass here: nodes share them, and their hints come by the <see cref="ITransitionBus"/>. Claims and visibility are set only
/// here, on the directory's loop. So if two nodes change the same user, all nodes agree on the last change. A notification may be lost, so
/// watched IDs are also looked up once in <see cref="LookupInterval"/>. Threading: changes come one at a time. Lookups run beside them, one
/// at a time.
/// </remarks>
internal sealed class DirectoryNews(
    IUserDirectory directory, Claims claims, Accounts accounts, Visibilities visibilities, WatchHub watchers, Clock clock, AglowLog log)
{
    /// <summary>How often watched IDs without an index are looked up.</summary>
    public static readonly TimeSpan LookupInterval = TimeSpan.FromSeconds(10);

    private const int AtOnce = 10_000;

    private readonly Lock _gate = new();
    private long _lookedUpAt = clock.Time.GetTimestamp();
    private (uint From, uint Next)? _registered;
    private bool _isLookingUp;

    public void Apply(DirectoryChanges changes)
    {
        // before claims: a user who switches from one way of hiding to the other must stay hidden in between
        SetVisibilities(changes);
        SetClaims(changes);
        SetAccounts(changes);
        if (watchers.HasUnknownKeys)
            LookUp(changes);
    }

    private void SetClaims(DirectoryChanges changes)
    {
        var changed = new List<uint>();
        var now = clock.Now;
        foreach (var (user, claimed) in All(changes.Claims, changes.IsComplete, claims.Users, none: []))
        {
            if (claims.Set(user, claimed, now))
                changed.Add(user);
        }

        if (changed.Count > 0)
            watchers.Recheck([.. changed]);
    }

    private void SetAccounts(DirectoryChanges changes)
    {
        foreach (var (user, account) in All(changes.Accounts, changes.IsComplete, accounts.Users, Account.Default))
        {
            accounts.Set(user, account);
            if (account.IsDeleted)
                watchers.Resight(user);
        }
    }

    private void SetVisibilities(DirectoryChanges changes)
    {
        var changed = new List<uint>();
        foreach (var (user, visibility) in All(changes.Visibilities, changes.IsComplete, visibilities.Users, Visibility.Default))
        {
            if (visibilities.Set(user, visibility))
                changed.Add(user);
        }

        // after all are set: with reciprocal visibility, a user's view depends on the settings of others
        foreach (var user in changed)
            watchers.Resight(user);
    }

    // Returns the reported values. A complete report also clears all other known users.
    private static IEnumerable<KeyValuePair<uint, T>> All<T>(
        IReadOnlyList<KeyValuePair<uint, T>> reported, bool isComplete, IEnumerable<uint> known, T none) => !isComplete
        ? reported
        : [.. reported, .. known.Except(reported.Select(static r => r.Key)).Select(user => KeyValuePair.Create(user, none))];

    private void LookUp(DirectoryChanges changes)
    {
        lock (_gate)
        {
            if (changes.RegisteredFrom < changes.Next)
                _registered = (Math.Min(_registered?.From ?? uint.MaxValue, changes.RegisteredFrom), changes.Next);
            if (_isLookingUp || (_registered is null && !IsDue))
                return;
            _isLookingUp = true;
        }

        _ = LookUpAsync();
    }

    private bool IsDue => clock.Time.GetElapsedTime(_lookedUpAt) >= LookupInterval;

    private async Task LookUpAsync()
    {
        while (true)
        {
            (uint From, uint Next)? registered;
            bool isDue;
            lock (_gate)
            {
                registered = _registered;
                _registered = null;
                isDue = IsDue;
                if (registered is null && !isDue)
                {
                    _isLookingUp = false;
                    return;
                }
            }

            try
            {
                var keys = await watchers.ListUnknownKeysAsync();
                if (isDue || keys.Length <= registered!.Value.Next - registered.Value.From)
                    await FindKeysAsync(keys);
                else
                    await FindAmongAsync(registered.Value.From, registered.Value.Next, keys.ToHashSet(StringComparer.Ordinal));
            }
            catch (StoreUnavailableException)
            {
                // the next interval retries
            }
            catch (Exception failure)
            {
                log.StepFailed("lookup of watched IDs", failure);
            }
        }
    }

    private async Task FindKeysAsync(string[] keys)
    {
        _lookedUpAt = clock.Time.GetTimestamp();
        foreach (var some in keys.Chunk(AtOnce))
        {
            var numbers = new uint[some.Length];
            await directory.FindIndexesAsync(some, numbers);
            for (var i = 0; i < some.Length; i++)
            {
                if (numbers[i] != 0)
                    watchers.Bind(some[i], numbers[i]);
            }
        }
    }

    private async Task FindAmongAsync(uint from, uint next, HashSet<string> keys)
    {
        for (long first = from; first < next; first += AtOnce)
        {
            uint[] numbers = [.. Enumerable.Range(0, (int)Math.Min(AtOnce, next - first)).Select(i => (uint)(first + i))];
            var names = new string?[numbers.Length];
            await directory.FindIdsAsync(numbers, names);
            for (var i = 0; i < numbers.Length; i++)
            {
                if (names[i] is { } name && keys.Contains(name))
                    watchers.Bind(name, numbers[i]);
            }
        }
    }
}
