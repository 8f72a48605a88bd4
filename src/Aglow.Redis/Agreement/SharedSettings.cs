using System.Globalization;
using System.Security.Cryptography;
using Aglow.Model;
using Aglow.Users;

namespace Aglow.Redis.Agreement;

/// <summary>
/// What all nodes that share words must agree on. A node with other settings would read other statuses from the same words.
/// </summary>
/// <remarks>
/// Stored in Redis as text, one line for each setting, sorted by name:
/// <code>
///   away-seconds 600
///   contract 2
///   definition active: pulse lease, activity 300, ended by a leave
///   heartbeat-seconds 10
///   socket-ping-seconds 10
///   lease-seconds 30
///   reciprocal-visibility false
///   user-directory 3fa9c2d1
/// </code>
/// <c>user-directory</c> is a hash that identifies the directory, or none: without it, a node shows users who hide in it.
/// A setting that only one of two nodes knows counts as a difference only if it is a definition. So a newer version may add settings.
/// Immutable.
/// </remarks>
internal sealed class SharedSettings
{
    private const string DefinitionPrefix = "definition ";
    private const string Missing = "none";

    // the version of what callers see and of what words mean; raise it when either changes
    private const int Contract = 2;

    private readonly SortedDictionary<string, string> _values = new(StringComparer.Ordinal);

    /// <summary>The settings of a node with these options and this directory; null: it has none.</summary>
    public static SharedSettings Of(AglowOptions options, IUserDirectory? directory = null)
    {
        var settings = new SharedSettings();
        settings.Set("contract", Contract);
        settings.Set("lease-seconds", options.LeaseSeconds);
        settings.Set("heartbeat-seconds", options.HeartbeatSeconds);
        settings.Set("socket-ping-seconds", options.PingSeconds);
        settings.Set("away-seconds", options.AwaySeconds);
        settings._values["reciprocal-visibility"] = options.IsVisibilityReciprocal ? "true" : "false";
        settings._values["user-directory"] =
            directory is null ? Missing : Convert.ToHexStringLower(SHA256.HashData(directory.CursorSecret.Span)[..4]);
        foreach (var (name, definition) in options.Definitions)
            settings._values[$"{DefinitionPrefix}{name}:"] = Describe(definition, options.LeaseSeconds);
        return settings;
    }

    /// <summary>Parses what <see cref="ToString"/> writes. Skips lines that it cannot parse.</summary>
    public static SharedSettings Parse(string text)
    {
        var settings = new SharedSettings();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            // the name of a definition contains a space
            var end = line.IndexOf(' ', line.StartsWith(DefinitionPrefix, StringComparison.Ordinal) ? DefinitionPrefix.Length : 0);
            if (end > 0)
                settings._values[line[..end]] = line[(end + 1)..];
        }

        return settings;
    }

    /// <summary>The first difference from other settings; null: none.</summary>
    public SettingDifference? DifferenceFrom(SharedSettings others)
    {
        var names = _values.Keys.Union(others._values.Keys, StringComparer.Ordinal)
            .Where(name => Differs(name, others))
            .Order(StringComparer.Ordinal)
            .ToArray();
        return names.Length == 0 ? null : new SettingDifference(Describe(names), others.Describe(names));
    }

    /// <summary>Whether it has a setting that others, of an older version, do not know.</summary>
    public bool AddsTo(SharedSettings others) => _values.Keys.Except(others._values.Keys, StringComparer.Ordinal).Any();

    public override string ToString() => string.Join('\n', _values.Select(static pair => $"{pair.Key} {pair.Value}"));

    private static string Describe(DefinitionOptions definition, int lease)
    {
        var pulse = definition.PulseSeconds is { } own && own != lease ? Text(own) : "lease";
        var activity = definition.ActivitySeconds is { } seconds ? $", activity {Text(seconds)}" : "";
        return $"pulse {pulse}{activity}{(definition.EndedByLeave ? ", ended by a leave" : "")}";
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private void Set(string name, int value) => _values[name] = Text(value);

    private bool Differs(string name, SharedSettings others) =>
        _values.TryGetValue(name, out var mine) & others._values.TryGetValue(name, out var theirs)
            ? mine != theirs
            : name.StartsWith(DefinitionPrefix, StringComparison.Ordinal);

    private string Describe(IEnumerable<string> names) =>
        string.Join(", ", names.Select(name => $"{name} {_values.GetValueOrDefault(name, Missing)}"));
}

/// <summary>The settings that differ, as this node has them and as the other nodes have them.</summary>
internal sealed record SettingDifference(string Mine, string Theirs);
