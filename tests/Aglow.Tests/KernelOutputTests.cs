using System.Net;
using System.Net.Sockets;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Sockets;

namespace Aglow.Tests;

public sealed class KernelOutputTests
{
    [Fact]
    public async Task A_slow_reader_gets_every_byte_in_order()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var reader = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        await reader.ConnectAsync(listener.LocalEndpoint);
        using var writer = await listener.AcceptSocketAsync();
        writer.SendBufferSize = 4096;
        var output = new KernelOutput(writer);

        var random = new Random(5);
        var sent = new List<byte>();
        var full = 0;
        for (var i = 0; i < 500; i++)
        {
            var frames = new byte[random.Next(1, 2000)];
            random.NextBytes(frames);
            sent.AddRange(frames);
            if (!output.Send(frames))
                full++;
            // sometimes the kernel has room again, and sometimes new bytes wait behind older ones
            if (i % 7 == 0 && reader.Available > 0)
                await ReadAsync(reader, sent, reader.Available);
        }

        full.ShouldBeGreaterThan(0);
        await ReadAsync(reader, sent, sent.Count);
        // when the kernel has room again, bytes are sent at once
        (await UntilAsync(() => output.Send([1, 2, 3]))).ShouldBeTrue();
    }

    [Fact]
    public async Task A_lost_connection_takes_nothing_and_throws_nothing()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var reader = new Socket(SocketType.Stream, ProtocolType.Tcp) { LingerState = new LingerOption(true, 0) };
        await reader.ConnectAsync(listener.LocalEndpoint);
        using var writer = await listener.AcceptSocketAsync();
        var output = new KernelOutput(writer);
        output.Send([1]).ShouldBeTrue();
        reader.Dispose();
        (await UntilAsync(() => !output.Send([2]))).ShouldBeTrue();
        writer.Dispose();
        output.Send([3]).ShouldBeFalse();
    }

    // Reads this many bytes, compares them with the first bytes that were sent, and removes those.
    private static async Task ReadAsync(Socket reader, List<byte> sent, int count)
    {
        var bytes = new byte[count];
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        for (var read = 0; read < count;)
            read += await reader.ReceiveAsync(bytes.AsMemory(read), patience.Token);
        bytes.AsSpan().SequenceEqual(sent.GetRange(0, count).ToArray()).ShouldBeTrue();
        sent.RemoveRange(0, count);
    }

    private static async Task<bool> UntilAsync(Func<bool> met)
    {
        for (var i = 0; i < 3000; i++)
        {
            if (met())
                return true;
            await Task.Delay(10);
        }

        return false;
    }
}
