using System.Net;
using System.Net.Sockets;

namespace Aglow.Benchmarks;

/// <summary>
/// Takes connections and does nothing with them: what the same slow connections cost the machine without a server behind them.
/// </summary>
/// <remarks>In a process of its own under a hidden verb.</remarks>
internal static class SlowSink
{
    /// <summary><c>slow-sink</c>: says its port, and ends when its input does.</summary>
    public const string Verb = "slow-sink";

    public static async Task<int> RunAsync()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start(512);
        Console.WriteLine(((IPEndPoint)listener.LocalEndpoint).Port);
        using var ended = new CancellationTokenSource();
        _ = Child.ParentEndsAsync().ContinueWith(_ => ended.Cancel(), TaskScheduler.Default);
        var taken = new List<Socket>();
        try
        {
            while (true)
                taken.Add(await listener.AcceptSocketAsync(ended.Token));
        }
        catch (OperationCanceledException)
        {
            // nobody is measured any more
        }

        foreach (var socket in taken)
            socket.Dispose();
        return 0;
    }
}
