using Aglow.Model;

namespace Aglow.Client.Tests;

/// <summary>A real server for all tests of a class: a tick every four seconds. Each test takes users of its own.</summary>
/// <remarks>The lease is longer than any test, so that nobody goes offline because the machine is busy.</remarks>
public sealed class ServerFixture : IAsyncLifetime
{
    private static int _nextUser = 1000;

    internal AglowProcess Process { get; private set; } = null!;

    internal static UserId NewUser() => Interlocked.Increment(ref _nextUser);

    internal static UserId NewKey(string prefix = "key") => $"{prefix}-{Guid.NewGuid():N}";

    internal AglowClient Client(UserId? user = null) => new(new AglowClientOptions(Process.Address) { User = user });

    /// <summary>A gauge of the server's own.</summary>
    internal async Task<long> GaugeAsync(string name)
    {
        var metrics = await Process.Http.GetStringAsync("/metrics");
        return long.Parse(
            metrics.Split('\n').First(l => l.StartsWith($"{name} ", StringComparison.Ordinal))[(name.Length + 1)..],
            System.Globalization.CultureInfo.InvariantCulture);
    }

    public async Task InitializeAsync() =>
        Process = await AglowProcess.StartAsync(null, "--lease-seconds", "120", "--heartbeat-seconds", "4");

    public async Task DisposeAsync() => await Process.DisposeAsync();
}
