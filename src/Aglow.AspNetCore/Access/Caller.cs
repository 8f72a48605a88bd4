using System.Text;
using Aglow.AspNetCore.Http;
using Aglow.Model;

namespace Aglow.AspNetCore.Access;

/// <summary>What a backend may do. A person has none of these: they do for themself what a call allows anyone to do for themself.</summary>
[Flags]
internal enum Scopes
{
    /// <summary>Nothing beyond themself.</summary>
    None = 0,

    /// <summary>Heartbeats, goodbyes and sockets for any user.</summary>
    Heartbeat = 1,

    /// <summary>Statuses, searches, the list of who is online.</summary>
    Read = 2,

    /// <summary>Registers and deletes users; statuses, subscriptions and visibility of any user.</summary>
    Users = 4,

    /// <summary>Explanations and metrics, which show what is hidden from everybody else.</summary>
    Operate = 8,

    /// <summary>All of these.</summary>
    All = Heartbeat | Read | Users | Operate,
}

/// <summary>
/// Who calls, as their token or key says: a person, or a backend with scopes. Made once a credential and kept while that is good.
/// </summary>
/// <remarks>Any thread. What may change is that it is revoked: open connections are told (<see cref="WhenRevoked"/>), and calls look (<see cref="IsGoodAt"/>).</remarks>
internal sealed class Caller
{
    /// <summary>How long a token is taken after it has expired: clocks of servers differ by seconds.</summary>
    public static readonly TimeSpan Skew = TimeSpan.FromSeconds(60);

    private volatile bool _isRevoked;
    private volatile uint _index;
    private volatile int _checkedVersion;

    private Caller(string name, UserId? user, Scopes scopes, DateTimeOffset? issuedAt, DateTimeOffset? expiresAt)
    {
        Name = name;
        User = user;
        Scopes = scopes;
        IssuedAt = issuedAt?.ToUnixTimeSeconds();
        ExpiresAt = expiresAt;
        // of this process: nobody can choose two names that meet
        Hash = StringComparer.Ordinal.GetHashCode(name);
        Key = user?.Key is { } key ? Encoding.UTF8.GetBytes(key) : [];
        _index = user is { Key: null } number ? number.Number : UserId.Nobody;
    }

    /// <summary>Whose calls are counted together: a user, or a key's name.</summary>
    public string Name { get; }

    /// <summary>The hash of the name.</summary>
    public int Hash { get; }

    /// <summary>The person; null for a backend.</summary>
    public UserId? User { get; }

    /// <summary>The person's key in UTF-8; empty where they are a number, or a backend.</summary>
    public byte[] Key { get; }

    /// <summary>
    /// The person's index, which is theirs for good; <see cref="UserId.Nobody"/> while it is not known, and for a backend.
    /// </summary>
    public uint Index
    {
        get => _index;
        set => _index = value;
    }

    /// <summary>What a backend may do.</summary>
    public Scopes Scopes { get; }

    /// <summary>When the credential was issued (seconds since 1970-01-01 UTC); null where it does not say.</summary>
    public long? IssuedAt { get; }

    /// <summary>When the credential ends; null: when it is revoked.</summary>
    public DateTimeOffset? ExpiresAt { get; }

    /// <summary>A person, until their token expires.</summary>
    public static Caller Person(UserId user, DateTimeOffset? issuedAt, DateTimeOffset expiresAt) => new($"user {user}", user, Scopes.None, issuedAt, expiresAt);

    /// <summary>A backend, until its key is revoked.</summary>
    public static Caller Backend(string name, Scopes scopes) => new($"key {name}", user: null, scopes, issuedAt: null, expiresAt: null);

    /// <summary>Whether the credential is still taken for a call.</summary>
    public bool IsGoodAt(DateTimeOffset now) => !_isRevoked && (ExpiresAt is not { } end || now < end + Skew);

    /// <summary>How long a connection that was opened with the credential may stay: to the second of its end, since it can be renewed before.</summary>
    public TimeSpan Left(DateTimeOffset now) => _isRevoked ? TimeSpan.Zero : ExpiresAt is not { } end ? TimeSpan.MaxValue : end > now ? end - now : TimeSpan.Zero;

    /// <summary>Whether this caller was admitted as the accounts are now (<see cref="Users.Accounts.Version"/>).</summary>
    public bool IsCheckedAt(int version) => _checkedVersion == version;

    /// <summary>Notes that this caller was admitted as the accounts are now.</summary>
    public void CheckedAt(int version) => _checkedVersion = version;

    /// <summary>Called when the credential is revoked, at once.</summary>
    public Action<Caller>? WhenRevoked { get; set; }

    /// <summary>The credential holds no more.</summary>
    public void Revoke()
    {
        _isRevoked = true;
        WhenRevoked?.Invoke(this);
    }
}

/// <summary>
/// Who a token or key stands for; throws a <see cref="ProblemException"/> where it stands for nobody (401), or where that cannot be told just now (503).
/// A server that registers one as a service takes tokens.
/// </summary>
internal delegate ValueTask<Caller> CredentialCheck(string credential);
