using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Aglow.Stores.Tests;

/// <summary>A server answered with an error.</summary>
internal sealed class RedisErrorException(string message) : Exception(message);

/// <summary>Sends one command on its own connection and returns the answer, without a client library in between.</summary>
internal static class RedisConnection
{
    // a busy disk may delay a server for seconds
    private static readonly TimeSpan AnswersWithin = TimeSpan.FromSeconds(30);

    /// <summary>The answer: a long, a string, null, or an array of these.</summary>
    /// <exception cref="IOException">The server cannot be reached or does not answer.</exception>
    /// <exception cref="RedisErrorException">It answers with an error.</exception>
    public static async Task<object?> CallAsync(int port, params string[] parts)
    {
        using var limit = new CancellationTokenSource(AnswersWithin);
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync("127.0.0.1", port, limit.Token);
            await using var stream = client.GetStream();
            var command = new StringBuilder($"*{parts.Length}\r\n");
            foreach (var part in parts)
                command.Append(CultureInfo.InvariantCulture, $"${Encoding.UTF8.GetByteCount(part)}\r\n{part}\r\n");
            await stream.WriteAsync(Encoding.UTF8.GetBytes($"{command}"), limit.Token);
            return await ReadAsync(stream, limit.Token);
        }
        catch (Exception failure) when (failure is SocketException or OperationCanceledException)
        {
            throw new IOException($"The server on port {port}: {failure.Message}", failure);
        }
    }

    private static async Task<object?> ReadAsync(Stream stream, CancellationToken stop)
    {
        var line = await ReadLineAsync(stream, stop);
        switch (line[0])
        {
            case '+':
                return line[1..];
            case '-':
                throw new RedisErrorException(line[1..]);
            case ':':
                return long.Parse(line.AsSpan(1), CultureInfo.InvariantCulture);
            case '$':
                var bytes = new byte[Math.Max(0, int.Parse(line.AsSpan(1), CultureInfo.InvariantCulture))];
                if (line == "$-1")
                    return null;
                await stream.ReadExactlyAsync(bytes, stop);
                await ReadLineAsync(stream, stop);
                return Encoding.UTF8.GetString(bytes);
            case '*':
                var items = new object?[Math.Max(0, int.Parse(line.AsSpan(1), CultureInfo.InvariantCulture))];
                for (var i = 0; i < items.Length; i++)
                    items[i] = await ReadAsync(stream, stop);
                return items;
            default:
                throw new IOException($"\"{line}\" is not RESP.");
        }
    }

    private static async Task<string> ReadLineAsync(Stream stream, CancellationToken stop)
    {
        var line = new StringBuilder();
        for (var one = new byte[1]; ;)
        {
            await stream.ReadExactlyAsync(one, stop);
            if (one[0] == '\n')
                return line.ToString().TrimEnd('\r');
            line.Append((char)one[0]);
        }
    }
}
