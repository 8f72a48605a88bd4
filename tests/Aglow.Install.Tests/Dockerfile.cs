using System.Text.Json;

namespace Aglow.Install.Tests;

/// <summary>The image as <c>deploy/docker/Dockerfile</c> describes it.</summary>
internal sealed record Dockerfile(
    string From, string[] BuildSteps, (string From, string To)[] Copies, string User, string[] Variables, string[] EntryPoint,
    string Volume)
{
    public static Dockerfile Read()
    {
        var lines = File.ReadAllLines(Published.Deploy("docker", "Dockerfile"))
            .Where(static line => line.Length > 0 && line[0] != '#')
            .Select(static line => line.Split(' ', 2))
            .ToList();
        var last = lines.FindLastIndex(static line => line[0] == "FROM");
        var image = lines[last..];
        string One(string name) => image.Single(line => line[0] == name)[1];
        return new(
            image[0][1],
            [.. lines[..last].Where(static line => line[0] == "RUN").Select(static line => line[1])],
            [.. image.Where(static line => line[0] == "COPY").Select(static line => line[1].Split(' ')).Select(static w => (w[^2], w[^1]))],
            One("USER"),
            One("ENV").Split(' '),
            JsonSerializer.Deserialize<string[]>(One("ENTRYPOINT"))!,
            One("VOLUME"));
    }
}
