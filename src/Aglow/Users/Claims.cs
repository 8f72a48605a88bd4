using System.Collections.Concurrent;

namespace Aglow.Users;

/// <summary>
/// All claims, in memory on every node. A user without one needs no memory, and a lookup costs one field read.
/// </summary>
/// <remarks>
/// Loaded from the <see cref="IUserDirectory"/> at start. A change is written here after the directory has it on disk. A claim that has
/// ended has no effect (<see cref="EffectiveClaim.Of"/>). Its memory is freed when the user's claims are set next. A pass over all claims
/// also frees it, once their number has doubled since the last pass. A claim that hid its user stays after its end until the next one is
/// set: its end says since when the user is shown again. A claim with a text takes some 700 bytes. Any thread; callers order their calls
/// for one user.
/// </remarks>
public sealed class Claims
{
    private const int LeastForPass = 1024;

    private readonly ConcurrentDictionary<uint, Claim[]> _byUser = new();
    // the last seen to show for disabled users, whatever their claims
    private readonly ConcurrentDictionary<uint, uint> _disabled = new();
    // users who are disabled, or have a claim that hides them, even if it has ended
    private readonly ConcurrentDictionary<uint, byte> _hiding = new();
    // writes are one at a time
    private readonly Lock _gate = new();
    private int _count;
    private int _hidingCount;
    private int _passAt = LeastForPass;

    /// <summary>Raised with a user after their claims changed, or they were disabled or enabled. Handlers return at once.</summary>
    public event Action<uint>? Changed;

    /// <summary>Whether there are no claims and no disabled users.</summary>
    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>Whether certainly no user is hidden.</summary>
    public bool IsNobodyHidden => Volatile.Read(ref _hidingCount) == 0;

    /// <summary>The users with claims, in any order.</summary>
    public IEnumerable<uint> Users => _byUser.Select(static e => e.Key);

    /// <summary>The combined claims of a user at a second.</summary>
    public EffectiveClaim Of(uint user, uint now)
    {
        if (IsEmpty)
            return EffectiveClaim.None;
        if (_disabled.TryGetValue(user, out var shownLastSeen))
            return new EffectiveClaim(ClaimStatus.Hidden, shownLastSeen, IsDisabled: true);
        return _byUser.TryGetValue(user, out var claims) ? EffectiveClaim.Of(claims, now) : EffectiveClaim.None;
    }

    /// <summary>Whether a user appears offline by a claim, or is disabled.</summary>
    public bool IsHidden(uint user, uint now) => !IsNobodyHidden && Of(user, now).Status == ClaimStatus.Hidden;

    /// <summary>The hidden users, in any order.</summary>
    public IEnumerable<uint> Hidden(uint now) => _hiding.Select(static e => e.Key).Where(user => IsHidden(user, now));

    /// <summary>The claims of a user as they were set, including ended ones.</summary>
    public ReadOnlySpan<Claim> All(uint user) => _byUser.TryGetValue(user, out var claims) ? claims : [];

    /// <summary>The person's own choice; auto if it has ended.</summary>
    public ClaimStatus ChosenBy(uint user, uint now)
    {
        foreach (var claim in All(user))
        {
            if (claim.Source == Claim.UserSource)
                return claim.At(now)?.Status ?? ClaimStatus.Auto;
        }

        return ClaimStatus.Auto;
    }

    /// <summary>
    /// Whether a user may be disturbed: no quiet hours are active, and the shown claim is not busy. Hiding changes neither.
    /// </summary>
    public bool MayBeDisturbed(uint user, uint now)
    {
        if (IsEmpty)
            return true;
        Claim? shown = null;
        foreach (var claim in All(user))
        {
            if (claim.At(now) is not { } live || live.Status == ClaimStatus.Hidden)
                continue;
            if (claim.Hours is not null)
                return false;
            if (shown is null || EffectiveClaim.Compare(live, shown) < 0)
                shown = live;
        }

        return shown?.Status != ClaimStatus.Busy;
    }

    /// <summary>The next second after this one at which a user's claims change by themselves; 0: never.</summary>
    public uint ChangeAfter(uint user, uint now)
    {
        var next = 0u;
        foreach (var claim in All(user))
        {
            if (claim.ChangesAfter(now) is var change && change != 0 && (next == 0 || change < next))
                next = change;
        }

        return next;
    }

    /// <summary>Shows a disabled user offline, with the last seen of their account, whatever their claims.</summary>
    internal void Disable(uint user, uint shownLastSeen)
    {
        lock (_gate)
        {
            if (!_disabled.ContainsKey(user))
                Volatile.Write(ref _count, _count + 1);
            _disabled[user] = shownLastSeen;
            NoteHiding(user);
        }

        Changed?.Invoke(user);
    }

    /// <summary>Shows an enabled user by their claims again.</summary>
    internal void Enable(uint user)
    {
        lock (_gate)
        {
            if (_disabled.TryRemove(user, out _))
                Volatile.Write(ref _count, _count - 1);
            NoteHiding(user);
        }

        Changed?.Invoke(user);
    }

    /// <summary>Adds the metric of hidden users.</summary>
    internal void Observe(AglowMetrics metrics, Clock clock) => metrics.Gauge(
        "aglow.users.hidden", "Users who appear offline by a claim, or are disabled.", () => Hidden(clock.Now).LongCount());

    /// <summary>Sets all claims of a user; returns whether they changed.</summary>
    internal bool Set(uint user, IReadOnlyList<Claim> claims, uint now)
    {
        Claim[] kept = [.. claims.Where(claim => IsKept(claim, now))];
        lock (_gate)
        {
            var was = _byUser.GetValueOrDefault(user, []);
            if (was.Length == kept.Length && was.All(kept.Contains))
                return false;
            if (kept.Length == 0)
                _byUser.TryRemove(user, out _);
            else
                _byUser[user] = kept;
            Volatile.Write(ref _count, _count + (kept.Length > 0 ? 1 : 0) - (was.Length > 0 ? 1 : 0));
            NoteHiding(user);
            if (_count > _passAt)
                ForgetEnded(now);
        }

        Changed?.Invoke(user);
        return true;
    }

    private static bool IsKept(Claim claim, uint now) =>
        claim.Hours is not null || claim.Status == ClaimStatus.Hidden || claim.At(now) is not null;

    // Runs when the number has doubled since the last pass, so its cost per new claim is constant.
    private void ForgetEnded(uint now)
    {
        foreach (var (user, claims) in _byUser)
        {
            if (!Array.Exists(claims, claim => IsKept(claim, now)) && _byUser.TryRemove(user, out _))
                Volatile.Write(ref _count, _count - 1);
        }

        _passAt = LeastForPass + (2 * _count);
    }

    private void NoteHiding(uint user)
    {
        var isHiding = _disabled.ContainsKey(user)
            || Array.Exists(_byUser.GetValueOrDefault(user, []), static claim => claim.Status == ClaimStatus.Hidden);
        if (isHiding ? _hiding.TryAdd(user, 0) : _hiding.TryRemove(user, out _))
            Volatile.Write(ref _hidingCount, _hidingCount + (isHiding ? 1 : -1));
    }
}
