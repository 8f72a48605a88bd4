using Aglow.Client;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.Extensions.Hosting;

/// <summary>Registers an <see cref="AglowClient"/> for a connection string, as Aspire's app hosts set one.</summary>
public static class AglowClientConnection
{
    private const string Endpoint = "Endpoint";
    private const string Token = "Token";

    /// <summary>
    /// Registers one <see cref="AglowClient"/> and its health check. The configuration has the address in
    /// <c>ConnectionStrings:NAME</c>: <c>https://presence.example</c>, or <c>Endpoint=https://presence.example;Token=aglow_…</c>.
    /// </summary>
    /// <param name="builder">The application's builder.</param>
    /// <param name="connectionName">The name of the connection string; in Aspire, the name of the resource.</param>
    /// <param name="configure">Changes the settings that the connection string has made.</param>
    /// <returns>A builder for handlers and headers, which apply to calls and to the socket's handshake.</returns>
    public static IHttpClientBuilder AddAglowClient(
        this IHostApplicationBuilder builder, string connectionName, Action<AglowClientSettings>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(connectionName);
        builder.Services.AddOptions<AglowClientSettings>()
            .Configure<IConfiguration>((settings, configuration) => Read(settings, configuration, connectionName));
        builder.Services.AddHealthChecks().AddAglowClient();
        return builder.Services.AddAglowClient(configure ?? (static _ => { }));
    }

    private static void Read(AglowClientSettings settings, IConfiguration configuration, string name)
    {
        if (configuration.GetConnectionString(name) is not { Length: > 0 } connection)
        {
            throw new InvalidOperationException(
                $"The connection string \"{name}\" is missing: set ConnectionStrings:{name} to http://HOST:PORT or https://HOST.");
        }

        if (Uri.TryCreate(connection, UriKind.Absolute, out var address))
        {
            settings.Address = address;
            return;
        }

        foreach (var part in connection.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            // a token may end with "="
            if (part.Split('=', 2, StringSplitOptions.TrimEntries) is not [var key, { Length: > 0 } value])
                throw Wrong(name);
            if (key.Equals(Token, StringComparison.OrdinalIgnoreCase))
                settings.Token = value;
            else if (key.Equals(Endpoint, StringComparison.OrdinalIgnoreCase) && Uri.TryCreate(value, UriKind.Absolute, out address))
                settings.Address = address;
            else
                throw Wrong(name);
        }
    }

    // it does not repeat the connection string, which may hold a token
    private static InvalidOperationException Wrong(string name) => new(
        $"The connection string \"{name}\" cannot be read: set https://HOST, or {Endpoint}=https://HOST;{Token}=KEY.");
}
