using System.Buffers.Text;
using System.Text;
using System.Text.Json;

namespace Aglow.Fuzz;

/// <summary>
/// Reads one HTTP answer strictly. Findings are an answer that a strict client cannot read, a 500, a body that contradicts its head, and a
/// problem that reveals internal details.
/// </summary>
internal readonly ref struct HttpAnswer(int status, ReadOnlySpan<byte> head, ReadOnlySpan<byte> body)
{
    // A server that only has HTTP/1.1 refuses HTTP/2 with a frame of that protocol, HTTP_1_1_REQUIRED (RFC 9113, section 7). Nothing
    // follows it.
    private static ReadOnlySpan<byte> GoAway => [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0D];

    public int Status { get; } = status;

    public ReadOnlySpan<byte> Head { get; } = head;

    public ReadOnlySpan<byte> Body { get; } = body;

    /// <summary>
    /// Whether these requests contain a HEAD, whose answer has a length but no body. From outside it is not visible which of several
    /// answers that is.
    /// </summary>
    public static bool IsHead(ReadOnlySpan<byte> asked) => asked.IndexOf("HEAD"u8) >= 0;

    /// <summary>
    /// Reads the next answer and advances. False if nothing remains, or if only the beginning of an answer came and
    /// <paramref name="isWhole"/> is false.
    /// </summary>
    public static bool TryRead(ref ReadOnlySpan<byte> bytes, bool isWhole, out HttpAnswer answer)
    {
        answer = default;
        if (bytes.IsEmpty || bytes.SequenceEqual(GoAway))
            return false;
        var end = bytes.IndexOf("\r\n\r\n"u8);
        if (end < 0)
            return isWhole ? throw new FindingException($"the answer breaks off: {Shown(bytes)}") : false;
        var head = bytes[..end];
        var status = StatusOf(head);
        RequireHead(head);
        bytes = bytes[(end + 4)..];
        var body = ReadOnlySpan<byte>.Empty;
        if (status is < 200 or 204 or 304)
        {
            // these answers have no body
        }
        else if (Value(head, "Content-Length") is { } text)
        {
            var length = int.Parse(text);
            if (length > bytes.Length)
                return isWhole ? throw new FindingException($"{bytes.Length} bytes of {length} came: {Shown(head)}") : false;
            body = bytes[..length];
            bytes = bytes[length..];
        }
        else if (Value(head, "Transfer-Encoding") == "chunked")
        {
            // an event stream, which ends when its client disconnects
            body = bytes;
            bytes = default;
        }

        answer = new HttpAnswer(status, head, body);
        answer.Check();
        return true;
    }

    /// <summary>The status of an answer; 0 if there is none.</summary>
    public static int StatusOf(ReadOnlySpan<byte> answer)
    {
        if (answer.IsEmpty || answer.SequenceEqual(GoAway))
            return 0;
        return answer.StartsWith("HTTP/1.1 "u8)
            && Utf8Parser.TryParse(answer[9..], out int status, out var digits)
            && digits == 3
            && status is >= 100 and <= 599
            ? RequireNoFailure(status, answer)
            : throw new FindingException($"this is not an answer: {Shown(answer)}");
    }

    /// <summary>The value of a header; null if it is missing.</summary>
    public static string? Value(ReadOnlySpan<byte> head, string name)
    {
        foreach (var line in Encoding.Latin1.GetString(head).Split("\r\n"))
        {
            if (line.StartsWith(name, StringComparison.OrdinalIgnoreCase) && line.AsSpan(name.Length).StartsWith(":"))
                return line[(name.Length + 1)..].Trim();
        }

        return null;
    }

    private void Check()
    {
        var type = Value(Head, "Content-Type");
        if (type is not ("application/json" or "application/problem+json"))
            return;
        try
        {
            using var document = JsonDocument.Parse(Body.ToArray());
            if (Status >= 400)
                CheckProblem(document.RootElement);
        }
        catch (JsonException)
        {
            throw new FindingException($"the answer is not JSON: {Shown(Body)}");
        }
    }

    private void CheckProblem(JsonElement problem)
    {
        var detail = problem.GetProperty("detail").GetString()!;
        if (problem.GetProperty("status").GetInt32() != Status
            || detail.Length < 10
            || detail.Contains("Exception", StringComparison.Ordinal)
            || detail.Contains("   at ", StringComparison.Ordinal))
            throw new FindingException($"this is not a problem document: {problem}");
    }

    // 501: a call for the feed, which this server does not have; 505: another protocol; 507: an ID beyond the operator's budget. No other
    // 5xx is allowed.
    private static int RequireNoFailure(int status, ReadOnlySpan<byte> answer) =>
        status >= 500 && status is not (501 or 505 or 507) ? throw new FindingException($"{status}: {Shown(answer)}") : status;

    private static void RequireHead(ReadOnlySpan<byte> head)
    {
        foreach (var line in Encoding.Latin1.GetString(head).Split("\r\n")[1..])
        {
            if (line.IndexOf(':', StringComparison.Ordinal) <= 0 || line.AsSpan().ContainsAnyExceptInRange(' ', '~'))
                throw new FindingException($"this is not a header: {line}");
        }
    }

    private static string Shown(ReadOnlySpan<byte> bytes) => Corpus.Escape(bytes[..Math.Min(bytes.Length, 300)]);
}
