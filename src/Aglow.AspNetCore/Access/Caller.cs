using System.Text;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// The caller that a token or key stands for: a person, or a backend with scopes. There is one for each credential, for as long as it is
/// valid.
/// </summary>
/// <remarks>
/// Threading: any thread. The credential may be revoked at any time: open connections are notified (<see cref="WhenRevoked"/>), and each
/// call checks (<see cref="IsGoodAt"/>).
/// </remarks>
internal sealed class Caller
{
    /// <summary>How long a token is accepted after it has expired, because clocks of servers differ by seconds.</summary>
    public static readonly TimeSpan Skew = TimeSpan.FromSeconds(60);

    // null for a person, whose account ends the credential
    private readonly CancellationTokenSource? _revoked;
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
        // this hash has a random seed for each process, so nobody can choose two names that collide
        Hash = StringComparer.Ordinal.GetHashCode(name);
        Key = user?.Key is { } key ? Encoding.UTF8.GetBytes(key) : [];
        _index = user is { Key: null } number ? number.Number : UserId.Nobody;
        _revoked = user is null ? new CancellationTokenSource() : null;
    }

    /// <summary>The name under which calls are counted together: a user, or a key's name.</summary>
    public string Name { get; }

    public int Hash { get; }

    /// <summary>The person; null for a backend.</summary>
    public UserId? User { get; }

    /// <summary>The person's key in UTF-8; empty if their ID is a number, and for a backend.</summary>
    public byte[] Key { get; }

    /// <summary>
    /// The person's index, which never changes; <see cref="UserId.Nobody"/> while it is not known, and for a backend.
    /// </summary>
    public uint Index
    {
        get => _index;
        set => _index = value;
    }

    /// <summary>What a backend may do.</summary>
    public Scopes Scopes { get; }

    /// <summary>When the credential was issued (seconds since 1970-01-01 UTC); null if it does not say.</summary>
    public long? IssuedAt { get; }

    /// <summary>When the credential expires; null: it is valid until it is revoked.</summary>
    public DateTimeOffset? ExpiresAt { get; }

    /// <summary>A person, until their token expires.</summary>
    public static Caller Person(UserId user, DateTimeOffset? issuedAt, DateTimeOffset expiresAt) =>
        new($"user {user}", user, Scopes.None, issuedAt, expiresAt);

    /// <summary>A backend, until its key is revoked.</summary>
    public static Caller Backend(string name, Scopes scopes) => new($"key {name}", user: null, scopes, issuedAt: null, expiresAt: null);

    /// <summary>Whether a call with this credential is still accepted.</summary>
    public bool IsGoodAt(DateTimeOffset now) => !_isRevoked && (ExpiresAt is not { } end || now < end + Skew);

    /// <summary>
    /// How long a connection with this credential may stay open. There is no <see cref="Skew"/>, because the client can renew the token
    /// before it expires.
    /// </summary>
    public TimeSpan Left(DateTimeOffset now) =>
        _isRevoked ? TimeSpan.Zero : ExpiresAt is not { } end ? TimeSpan.MaxValue : end > now ? end - now : TimeSpan.Zero;

    /// <summary>Whether this caller was checked at this version of the accounts (<see cref="Users.Accounts.Version"/>).</summary>
    public bool IsCheckedAt(int version) => _checkedVersion == version;

    /// <summary>Notes that this caller was checked at this version of the accounts.</summary>
    public void CheckedAt(int version) => _checkedVersion = version;

    /// <summary>Called at the moment when the credential is revoked.</summary>
    public Action<Caller>? WhenRevoked { get; set; }

    /// <summary>Ends what waits for a backend when its key is revoked.</summary>
    public CancellationToken Revoked => _revoked?.Token ?? default;

    /// <summary>Revokes the credential, and notifies <see cref="WhenRevoked"/>.</summary>
    public void Revoke()
    {
        _isRevoked = true;
        _ = _revoked?.CancelAsync();
        WhenRevoked?.Invoke(this);
    }
}

/// <summary>
/// Returns the caller that a token or key stands for. Throws a <see cref="ProblemException"/> if the credential is not valid (401), or
/// cannot be checked at present (503). A server takes tokens if it registers one of these as a service.
/// </summary>
internal delegate ValueTask<Caller> CredentialCheck(string credential);
