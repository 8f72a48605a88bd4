namespace Aglow.Client;

/// <summary>The configuration of an <see cref="AglowClient"/>. <see cref="AglowClientOptions"/> explains each member.</summary>
public sealed class AglowClientSettings
{
    /// <summary>The server's address, such as <c>https://presence.example/</c>. Required.</summary>
    public Uri? Address { get; set; }

    /// <summary>Other addresses of the same server.</summary>
    public IList<Uri> OtherAddresses { get; } = [];

    /// <summary>A key of a backend, or another token that never changes.</summary>
    public string? Token { get; set; }

    /// <summary>The user that calls, if the server is in open mode.</summary>
    public string? User { get; set; }

    /// <summary>Returns a token for each call and connection, instead of <see cref="Token"/>. Set it in code.</summary>
    public Func<CancellationToken, ValueTask<string>>? AccessToken { get; set; }

    /// <summary>This device. Null: a new one at each start of the application. Set it in code.</summary>
    public ClientDevice? Device { get; set; }

    internal AglowClientOptions ToOptions(HttpClient? http, TimeProvider time)
    {
        var options = new AglowClientOptions(
            Address ?? throw new ArgumentException(
                "The address of the Aglow server is missing: set Address to http://HOST:PORT or https://HOST."))
        {
            OtherAddresses = [.. OtherAddresses],
            Token = string.IsNullOrEmpty(Token) ? null : Token,
            User = string.IsNullOrEmpty(User) ? (UserId?)null : UserId.Parse(User),
            AccessToken = AccessToken,
            HttpClient = http,
            TimeProvider = time,
        };
        return Device is { } device ? options with { Device = device } : options;
    }
}
