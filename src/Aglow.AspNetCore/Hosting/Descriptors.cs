using System.Globalization;
using Aglow.AspNetCore.Http;

namespace Aglow.AspNetCore.Hosting;

/// <summary>How many connections there are descriptors for. A rule on the system's text, and where that is read.</summary>
internal static class Descriptors
{
    /// <summary>What is left for everything else: files, Redis, PostgreSQL, parts of the program that are loaded when they are needed first, and connections on their way out. A server that has just started has some two hundred open.</summary>
    public const int Reserved = 512;

    // where there are too few for that: with these somebody is served at least
    private const int Fewest = 16;

    private const string Limits = "/proc/self/limits";

    /// <summary>How many connections this process may have; as many as can be counted where the system does not say.</summary>
    public static int ForConnections()
    {
        try
        {
            return File.Exists(Limits) ? ForConnections(File.ReadAllText(Limits)) : int.MaxValue;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return int.MaxValue;
        }
    }

    /// <summary>The same of a text such as <c>Max open files  1024  4096  files</c>; the first number holds.</summary>
    public static int ForConnections(string limits)
    {
        foreach (var line in limits.Split('\n'))
        {
            if (line.StartsWith("Max open files", StringComparison.Ordinal)
                && line["Max open files".Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var soft, ..]
                && long.TryParse(soft, CultureInfo.InvariantCulture, out var files))
            {
                return (int)Math.Clamp(files - Reserved, Fewest, int.MaxValue);
            }
        }

        return int.MaxValue;
    }
}
