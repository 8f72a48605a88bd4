using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;

namespace Aglow.Server.Tests;

/// <summary>What a caller without a credential can cause: few log lines, and answers to a bounded query.</summary>
public class StrangerTests
{
    [Fact]
    public async Task Streams_that_strangers_open_and_reset_write_few_lines()
    {
        var folder = AglowProcess.NewFolder();
        var (server, http2) = await BothVersions.StartAsync(folder, Token.ServerFlags);
        await using (server)
        {
            var (lines, began) = (Lines(), Stopwatch.GetTimestamp());
            await Task.WhenAll(Enumerable.Range(0, 40).Select(_ => ResetAsync(http2)));
            (await server.GetAsync("/health/live")).Status.ShouldBe(200);
            // a minute, however long this took
            (Lines() - lines).ShouldBeLessThanOrEqualTo(15 * (1 + (int)Stopwatch.GetElapsedTime(began).TotalMinutes));

            // a machine that is so busy that the server stalls is no stranger's work
            int Lines() => server.Output.Split('\n').Count(static line => !line.Contains("This process was paused"));
        }

        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData("/status?user=1&x={0}", 414)]
    [InlineData("/users?q={0}", 414)]
    [InlineData("/users/1?x={0}", 414)]
    [InlineData("/online?cursor={0}", 414)]
    [InlineData("/health/live?{0}", 414)]
    [InlineData("/openapi/v1.json?{0}", 414)]
    [InlineData("/nowhere?{0}", 414)]
    [InlineData("/?{0}", 414)]
    [InlineData("/ws?user_id={0}", 414)]
    public async Task A_query_that_is_too_long_is_a_problem_that_says_how_long_it_may_be(string path, int status)
    {
        await using var server = await AglowProcess.StartAsync();
        (await server.GetAsync(string.Format(System.Globalization.CultureInfo.InvariantCulture, path, new string('x', 20_000))))
            .ShouldBeProblem(status, "16384 bytes");
    }

    [Fact]
    public async Task Long_lists_of_users_fit_a_query_and_few_characters_of_many_marks_do_not()
    {
        await using var server = await AglowProcess.StartAsync();
        var ids = string.Join(',', Enumerable.Range(0, 1000).Select(static i => $"{Guid.Empty.ToString()[..^4]}{i:0000}"));
        (await server.GetAsync($"/status/users?ids={ids}")).Members.Length.ShouldBe(1000);
        // one letter with 2,000 accents
        (await server.GetAsync($"/users?q=a{string.Concat(Enumerable.Repeat("%CC%81", 2000))}")).ShouldBeProblem(400, "1024 bytes");
    }

    // opens 2,000 streams on a connection and resets each at once, until the server closes the connection
    private static async Task ResetAsync(Uri address)
    {
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(address.Host, address.Port);
        var stream = tcp.GetStream();
        // HPACK: GET, http, and a literal path and authority
        byte[] headers = [0x82, 0x86, 0x04, 12, .. "/health/live"u8, 0x41, 1, (byte)'a'];
        using var sent = new MemoryStream();
        sent.Write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8);
        Frame(sent, type: 4, flags: 0, id: 0, []);
        for (var i = 0; i < 2000; i++)
        {
            Frame(sent, type: 1, flags: 5, id: (i * 2) + 1, headers);
            Frame(sent, type: 3, flags: 0, id: (i * 2) + 1, [0, 0, 0, 8]);
        }

        try
        {
            await stream.WriteAsync(sent.ToArray());
            var rest = new byte[65_536];
            tcp.Client.Shutdown(SocketShutdown.Send);
            while (await stream.ReadAsync(rest) > 0)
            {
                // until the server closes
            }
        }
        catch (IOException)
        {
            // the server has closed the connection
        }
    }

    private static void Frame(MemoryStream into, byte type, byte flags, int id, byte[] payload)
    {
        Span<byte> head = stackalloc byte[9];
        BinaryPrimitives.WriteInt32BigEndian(head[5..], id);
        (head[0], head[1], head[2], head[3], head[4]) = (
            (byte)(payload.Length >> 16), (byte)(payload.Length >> 8), (byte)payload.Length, type, flags);
        into.Write(head);
        into.Write(payload);
    }
}
