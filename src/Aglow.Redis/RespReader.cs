using System.Text;

namespace Aglow.Redis;

/// <summary>Reads a whole reply (<see cref="RespFrame"/>) part by part, without allocating.</summary>
internal ref struct RespReader(ReadOnlySpan<byte> frame)
{
    // the map of a cluster is four lists deep; what is deeper would end the process by its stack
    private const int MostDeep = 32;

    private ReadOnlySpan<byte> _rest = frame;

    /// <summary>What comes next: RESP's first byte of it.</summary>
    public readonly byte Kind => _rest.IsEmpty ? (byte)0 : _rest[0];

    /// <summary>Whether the next part is an error.</summary>
    public readonly bool IsError => Kind is (byte)'-' or (byte)'!';

    /// <summary>A number.</summary>
    public long ReadNumber() => Kind == ':' ? RespFrame.Number(Line()) : throw Unexpected("a number");

    /// <summary>The head of a list (or of a set, a push); its length.</summary>
    public int ReadList() => Kind is (byte)'*' or (byte)'~' or (byte)'>' ? (int)RespFrame.Number(Line()) : throw Unexpected("a list");

    /// <summary>A text, of whatever form; empty for nothing, where <paramref name="isNull"/> says so.</summary>
    public ReadOnlySpan<byte> ReadText(out bool isNull)
    {
        isNull = false;
        switch (Kind)
        {
            case (byte)'+' or (byte)'-' or (byte)',' or (byte)'(' or (byte)'#':
                return Line();
            case (byte)'_':
                isNull = true;
                return Line();
            case (byte)'$' or (byte)'!' or (byte)'=':
                var length = (int)RespFrame.Number(Line());
                isNull = length < 0;
                if (isNull)
                    return default;
                var text = _rest[..length];
                _rest = _rest[(length + 2)..];
                return text;
            default:
                throw Unexpected("a text");
        }
    }

    /// <summary>Everything that follows as objects: for what is asked rarely.</summary>
    /// <exception cref="RespException">It is nested deeper than any answer to what is asked here.</exception>
    public object? ReadAny() => ReadAny(0);

    private object? ReadAny(int depth)
    {
        if (depth > MostDeep)
            throw new RespException($"the server's answer has lists in lists over {MostDeep} deep.");
        switch (Kind)
        {
            case (byte)':':
                return ReadNumber();
            case (byte)'*' or (byte)'~' or (byte)'>':
                return ReadMany(ReadList(), depth);
            case (byte)'%':
                return ReadMany(2 * (int)RespFrame.Number(Line()), depth);
            case (byte)'|':
                _ = ReadMany(2 * (int)RespFrame.Number(Line()), depth);
                return ReadAny(depth + 1);
            default:
                var text = ReadText(out var isNull);
                return isNull ? null : Encoding.UTF8.GetString(text);
        }
    }

    private object?[]? ReadMany(int count, int depth)
    {
        if (count < 0)
            return null;
        var items = new List<object?>(Math.Min(count, 1024));
        for (var i = 0; i < count; i++)
            items.Add(ReadAny(depth + 1));
        return [.. items];
    }

    private ReadOnlySpan<byte> Line()
    {
        var end = _rest.IndexOf("\r\n"u8);
        var line = _rest[1..end];
        _rest = _rest[(end + 2)..];
        return line;
    }

    private readonly RespException Unexpected(string wanted) => new($"the server answered '{(char)Kind}' where {wanted} was expected.");
}
