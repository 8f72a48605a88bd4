using Aglow.Benchmarks.Sockets;
using Amazon.DynamoDBv2;
using Amazon.Runtime;

namespace Aglow.Benchmarks.Baselines;

/// <summary>Starts our own <c>dynalite</c> on loopback: an emulator of DynamoDB on Node, in memory.</summary>
internal sealed class DynaliteServer(Child child, int port) : IDisposable
{
    private readonly long _bytesAtStart = Cpu.ResidentBytes(child.Process.Id);

    /// <summary>Starts a server. <paramref name="core"/>: the only core it may use, as a mask; 0: any.</summary>
    public static async Task<DynaliteServer> StartAsync(int core)
    {
        await Peers.InstallAsync();
        var port = Programs.FreePort();
        var child = Child.Start(
            Programs.Find("node", "nodejs"), core, Path.Combine(Peers.Folder, "node_modules", "dynalite", "cli.js"), "--host",
            "127.0.0.1", "--port", $"{port}", "--createTableMs", "1");
        // its first line says where it listens
        await child.ReadLineAsync();
        return new DynaliteServer(child, port);
    }

    /// <summary>Creates a client. Only the address differs from the real service.</summary>
    public AmazonDynamoDBClient Connect() => new(
        new BasicAWSCredentials("nobody", "nothing"),
        new AmazonDynamoDBConfig
        {
            ServiceURL = $"http://127.0.0.1:{port}",
            AuthenticationRegion = "us-east-1",
            MaxErrorRetry = 2,
            Timeout = TimeSpan.FromSeconds(30)
        });

    public double CpuSeconds() => Cpu.Of(child.Process.Id);

    /// <summary>Growth of resident bytes since the start: the items, and memory that is not collected yet.</summary>
    public long GrownBytes() => Cpu.ResidentBytes(child.Process.Id) - _bytesAtStart;

    public void Dispose() => child.Dispose();
}
