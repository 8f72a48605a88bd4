namespace Aglow.Client.Tests.Behaviour;

/// <summary>Every scenario of the behaviour suite that is not about another client.</summary>
public class BehaviourTests
{
    private static readonly Dictionary<string, JsonObject> Scenarios = Directory
        .GetFiles(Path.Combine(AglowProcess.Root, "clients", "behaviour"), "*.json")
        .Order(StringComparer.Ordinal)
        .SelectMany(static file => JsonNode.Parse(File.ReadAllText(file))!.AsArray())
        .Select(static scenario => scenario!.AsObject())
        .Where(static scenario => scenario["only"]?.GetValue<string>() is null or "dotnet")
        .ToDictionary(static scenario => scenario["name"]!.GetValue<string>());

    public static TheoryData<string> Names() => [.. Scenarios.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Scenario(string name)
    {
        await using var run = new ScenarioRun(Scenarios[name]);
        run.Run();
    }
}
