using System.Globalization;
using System.Text;

namespace Aglow.Fuzz;

/// <summary>
/// The kept inputs of one target: a text file with one input per line, so that a diff is readable. Printable characters are written as they
/// are, all other bytes as <c>\xNN</c>, <c>\r</c>, <c>\n</c> or <c>\\</c>. A line that begins with # is a comment.
/// </summary>
internal static class Corpus
{
    public static string PathOf(string folder, Target target) => Path.Combine(folder, $"{target.Name}.txt");

    /// <summary>Reads the inputs of a target; none if it has no file.</summary>
    public static IReadOnlyList<byte[]> Read(string folder, Target target)
    {
        var path = PathOf(folder, target);
        return File.Exists(path) ? [.. File.ReadLines(path).Where(static line => line.Length > 0 && line[0] != '#').Select(Unescape)] : [];
    }

    /// <summary>Adds inputs below a comment.</summary>
    public static void Add(string folder, Target target, string remark, params IEnumerable<byte[]> inputs)
    {
        Directory.CreateDirectory(folder);
        File.AppendAllLines(
            PathOf(folder, target), [$"# {remark.ReplaceLineEndings(" ")}", .. inputs.Select(static input => Escape(input))]);
    }

    public static string Escape(ReadOnlySpan<byte> input)
    {
        var line = new StringBuilder(input.Length + 16);
        foreach (var one in input)
        {
            _ = one switch
            {
                (byte)'\r' => line.Append("\\r"),
                (byte)'\n' => line.Append("\\n"),
                (byte)'\\' => line.Append("\\\\"),
                (byte)'#' when line.Length == 0 => line.Append("\\x23"),
                (byte)' ' when line.Length == 0 => line.Append("\\x20"),
                >= (byte)' ' and <= (byte)'~' => line.Append((char)one),
                _ => line.Append($"\\x{one:x2}"),
            };
        }

        // escaped, because editors remove trailing spaces
        if (line is [.., ' '])
            line.Remove(line.Length - 1, 1).Append("\\x20");
        return line.ToString();
    }

    public static byte[] Unescape(string line)
    {
        var bytes = new List<byte>(line.Length);
        for (var i = 0; i < line.Length; i++)
        {
            if (line[i] != '\\')
            {
                bytes.Add((byte)line[i]);
                continue;
            }

            i++;
            bytes.Add(line[i] switch
            {
                'r' => (byte)'\r',
                'n' => (byte)'\n',
                '\\' => (byte)'\\',
                'x' => byte.Parse(line.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier),
                _ => throw new FormatException($"\\{line[i]} stands for nothing in a corpus: use \\r, \\n, \\\\ or \\xNN."),
            });
            if (line[i] == 'x')
                i += 2;
        }

        return [.. bytes];
    }
}
