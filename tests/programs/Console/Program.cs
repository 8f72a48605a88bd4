using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Client;
using Aglow.Programs;
#if NET8_0
using System.Text.Json.Nodes;
using Aglow.Client.Tests.Behaviour;

// `scenarios FOLDER`: the behaviour suite
if (args is ["scenarios", var folder])
{
    var passed = 0;
    foreach (var file in Directory.GetFiles(folder, "*.json"))
    {
        foreach (var scenario in JsonNode.Parse(File.ReadAllText(file))!.AsArray().Select(static s => s!.AsObject()))
        {
            if (scenario["only"]?.GetValue<string>() is not (null or "dotnet"))
                continue;
            try
            {
                await using var run = new ScenarioRun(scenario);
                run.Run();
                passed++;
            }
            catch (ScenarioException failure)
            {
                Console.WriteLine($"{scenario["name"]}: {failure.Message}");
            }
        }
    }

    Console.WriteLine($"{RuntimeInformation.FrameworkDescription}: {passed} passed");
    return;
}
#endif

// `ADDRESS`: a session on a server
var me = UserId.Parse($"me-{Environment.ProcessId}");
await using var client = new AglowClient(args[0], me);
var code = RuntimeFeature.IsDynamicCodeSupported ? "compiled at run time" : "native";
Console.WriteLine($"{RuntimeInformation.FrameworkDescription}, {code}: {await Session.RunAsync(client, me)}");
