using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Aglow.Stores.Tests;

/// <summary>
/// A proxy between nodes and a Redis server on loopback. It replaces answers to TIME with another clock's time, because redis-server does
/// not start under libfaketime.
/// </summary>
internal sealed partial class SteppedRedis : Relay
{
    private readonly int _port;

    public SteppedRedis(int port, FakeWallClock clock) => _port = Listen(client => ConnectAsync(
        client, port, default, static () => false, answers => WithOtherTime(answers.Span, (long)clock.Ahead.TotalSeconds)));

    public string Address => $"127.0.0.1:{_port}";

    private static ReadOnlyMemory<byte> WithOtherTime(ReadOnlySpan<byte> answers, long ahead) => Encoding.Latin1.GetBytes(
        TimeAnswer().Replace(
            Encoding.Latin1.GetString(answers),
            time => (long.Parse(time.Value, CultureInfo.InvariantCulture) + ahead).ToString(CultureInfo.InvariantCulture)));

    // the seconds in an answer to TIME: two strings, of ten digits and of up to six digits
    [GeneratedRegex(@"(?<=\*2\r\n\$10\r\n)\d{10}(?=\r\n\$[1-6]\r\n\d{1,6}\r\n)", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex TimeAnswer();
}
