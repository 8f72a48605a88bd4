using System.Text.RegularExpressions;

namespace Aglow.Tests;

/// <summary>
/// Messages reach operators of the server, who set flags, and applications that embed the engine, which set <see cref="AglowOptions"/>.
/// </summary>
public class OptionNamesTests
{
    // flags whose name is not that of their option
    private static readonly Dictionary<string, string> Renamed = new()
    {
        ["data"] = nameof(AglowOptions.DataDirectory),
        ["demo"] = nameof(AglowOptions.DemoPeople),
        ["allow-open"] = nameof(AglowOptions.IsBehindGateway),
    };

    private static readonly Regex Comment = new(@"^\s*//.*$", RegexOptions.NonBacktracking | RegexOptions.Multiline);
    private static readonly Regex Joint = new(@"""\s*\+\s*\$?""", RegexOptions.NonBacktracking);
    private static readonly Regex Text = new(@""".*--[a-z].*""", RegexOptions.NonBacktracking);
    private static readonly Regex Flag = new("--(?<name>[a-z]+(-[a-z]+)*)", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture);

    // the commands check, repair and backup have a flag and no option
    private static readonly string[] OfCommands = ["with --data {", "name one with --data."];

    [Theory]
    [InlineData("Aglow")]
    [InlineData("Aglow.AspNetCore")]
    public void A_message_that_names_a_flag_names_its_option(string project)
    {
        foreach (var file in LayerTests.SourcesOf(project))
        {
            // a message may go over several lines
            var code = Joint.Replace(Comment.Replace(File.ReadAllText(file), ""), "");
            foreach (var text in OfCommands)
                code = code.Replace(text, "");
            foreach (Match text in Text.Matches(code))
            {
                foreach (Match flag in Flag.Matches(text.Value))
                {
                    if (OptionOf(flag.Groups["name"].Value) is { } option)
                        text.Value.ShouldContain(option, customMessage: $"{Path.GetFileName(file)}: {text.Value}");
                }
            }
        }
    }

    // null: only the server has it
    private static string? OptionOf(string flag) =>
        Renamed.GetValueOrDefault(flag) ?? typeof(AglowOptions).GetProperties()
            .FirstOrDefault(property => property.Name.Equals(flag.Replace("-", ""), StringComparison.OrdinalIgnoreCase))?.Name;
}
