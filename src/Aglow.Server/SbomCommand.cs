using System.CommandLine;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Aglow.Server;

/// <summary>
/// <c>sbom</c>: what this program is made of, as CycloneDX 1.6: its packages with their hashes, and the runtime.
/// </summary>
/// <remarks>The program carries the lock file that it was restored by, so the answer is about this very file, wherever it was copied to.</remarks>
internal static class SbomCommand
{
    private const string LockFile = "packages.lock.json";

    public static Command Create()
    {
        var command = new Command("sbom", "Writes what this program is made of, as CycloneDX JSON.");
        command.SetAction(static _ =>
        {
            using var output = Console.OpenStandardOutput();
            Write(output);
            return CommandLine.Fine;
        });
        return command;
    }

    private static void Write(Stream to)
    {
        using var locked = JsonDocument.Parse(typeof(SbomCommand).Assembly.GetManifestResourceStream(LockFile)!);
        using var json = new Utf8JsonWriter(to, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteString("bomFormat", "CycloneDX");
        json.WriteString("specVersion", "1.6");
        json.WriteNumber("version", 1);
        json.WriteStartObject("metadata");
        json.WriteStartObject("component");
        json.WriteString("type", "application");
        json.WriteString("name", "aglow-server");
        json.WriteString("version", typeof(SbomCommand).Assembly.GetName().Version?.ToString(3));
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteStartArray("components");
        WriteComponent(json, "platform", "Microsoft.NETCore.App", Environment.Version.ToString(), null, null);
        WriteComponent(json, "platform", "Microsoft.AspNetCore.App", typeof(Microsoft.AspNetCore.Http.HttpContext).Assembly.GetName().Version?.ToString(3) ?? "", null, null);
        foreach (var package in Packages(locked.RootElement.GetProperty("dependencies")))
        {
            var version = package.Value.GetProperty("resolved").GetString()!;
            var hash = package.Value.TryGetProperty("contentHash", out var sha512) ? Convert.ToHexStringLower(sha512.GetBytesFromBase64()) : null;
            WriteComponent(json, "library", package.Name, version, $"pkg:nuget/{package.Name}@{version}", hash);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    // What is the same on every platform, then what is this one's; each once. Projects of ours are not packages, and analyzers are not in the program.
    private static IEnumerable<JsonProperty> Packages(JsonElement frameworks) => frameworks.EnumerateObject()
        .Where(static framework => !framework.Name.Contains('/') || framework.Name.EndsWith($"/{RuntimeInformation.RuntimeIdentifier}", StringComparison.Ordinal))
        .SelectMany(static framework => framework.Value.EnumerateObject())
        .Where(static package => package.Value.TryGetProperty("resolved", out _) && !package.Name.Contains("Analyzer", StringComparison.Ordinal))
        .DistinctBy(static package => package.Name, StringComparer.Ordinal)
        .OrderBy(static package => package.Name, StringComparer.Ordinal);

    private static void WriteComponent(Utf8JsonWriter json, string type, string name, string version, string? purl, string? sha512)
    {
        json.WriteStartObject();
        json.WriteString("type", type);
        json.WriteString("name", name);
        json.WriteString("version", version);
        if (purl is not null)
        {
            json.WriteString("purl", purl);
            json.WriteString("bom-ref", purl);
        }

        if (sha512 is not null)
        {
            json.WriteStartArray("hashes");
            json.WriteStartObject();
            json.WriteString("alg", "SHA-512");
            json.WriteString("content", sha512);
            json.WriteEndObject();
            json.WriteEndArray();
        }

        json.WriteEndObject();
    }
}
