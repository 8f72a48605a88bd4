using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Plan;

/// <summary>One constant.</summary>
/// <param name="Name">The name in formulas, with its unit.</param>
/// <param name="Value">The median.</param>
/// <param name="Unit">The unit of the value.</param>
/// <param name="From">The command that measures it, or another source.</param>
internal sealed record Constant(string Name, double Value, string Unit, string From);

/// <summary>
/// The constants of the plan in <c>constants.json</c>, with date and machine. Benchmarks measure them; others name their source.
/// </summary>
/// <remarks>
/// <c>./aglow bench plan --constants tools/Aglow.Plan/constants.json</c> measures them again on your machine. Lines that begin with
/// <c>//</c> are comments.
/// </remarks>
internal sealed class Constants(string measuredAt, string machine, Dictionary<string, Constant> byKey)
{
    public string MeasuredAt => measuredAt;

    public string Machine => machine;

    public IReadOnlyDictionary<string, Constant> All => byKey;

    public Term this[string key] => Term.Of(
        byKey.GetValueOrDefault(key)
            ?? throw new UsageException($"the constants lack \"{key}\": measure them with ./aglow bench plan --constants FILE."));

    /// <summary>Reads a file.</summary>
    public static Constants Load(string file)
    {
        var read = JsonFile.Load<Content>(file);
        if (read.Constants is not { Count: > 0 })
            throw new UsageException($"{file}: there are no \"constants\" in it; start from tools/Aglow.Plan/constants.json.");
        var wrong = read.Constants.FirstOrDefault(c => !double.IsFinite(c.Value.Value) || c.Value.Value < 0);
        if (wrong.Key is not null)
            throw new UsageException($"{file}: \"{wrong.Key}\" is {wrong.Value.Value}: a constant is a number from 0 up.");
        return new Constants(read.MeasuredAt, read.Machine, read.Constants);
    }

    private sealed record Content(string MeasuredAt, string Machine, Dictionary<string, Constant> Constants);
}

/// <summary>Reads files that people write: JSON with comments and trailing commas.</summary>
internal static class JsonFile
{
    public static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        RespectRequiredConstructorParameters = true,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    /// <summary>Reads a file; an error is one line.</summary>
    public static T Load<T>(string file)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(File.ReadAllText(file), Options) ?? throw new UsageException($"{file} is empty.");
        }
        catch (JsonException wrong)
        {
            throw new UsageException($"{file}: {wrong.Message.ReplaceLineEndings(" ").TrimEnd('.')}.");
        }
        catch (Exception missing) when (missing is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"{file} cannot be read: {missing.Message.TrimEnd('.')}.");
        }
    }
}
