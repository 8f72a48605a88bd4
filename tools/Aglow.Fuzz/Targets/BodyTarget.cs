using System.Text.Json;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Http;
using Aglow.Users;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// JSON bodies. Only JSON may be accepted, the fast reader and the general one must agree, and a refusal must be a problem document.
/// </summary>
internal sealed class BodyTarget : RuleTarget
{
    private readonly KeyCache _known = new(1024);

    public override string Name => "bodies";

    public override string Feeds => "UsersBody, StatusUpdateReader, MemberReader";

    public override void Make(Dice dice, InputWriter input) => JsonGrammar.Document(dice, input.Add((byte)0));

    public override int Run(ReadOnlyMemory<byte> input)
    {
        var json = Cut.Body(input).Span;
        var behaviour = 0;
        foreach (var form in (ReadOnlySpan<UsersForm>)[UsersForm.OneOrList, UsersForm.ListOfObjectsOrList, UsersForm.List])
            behaviour = (behaviour * 7) + ReadUsers(json, form);
        behaviour = (behaviour * 7) + ReadLate(json);
        return (behaviour * 7) + ReadMembers(json);
    }

    private int ReadUsers(ReadOnlySpan<byte> json, UsersForm form)
    {
        using var users = new UserBatch();
        var quick = UsersBody.TryReadOne(json, _known, out var one, out var quickActive);
        try
        {
            var active = UsersBody.Read(json, form, _known, users).Active;
            RequireJson(json);
            if (users.Count > Limits.ListedUsers)
                throw new FindingException($"{users.Count} users are taken");
            if (form == UsersForm.OneOrList && quick && (users.Count != 1 || users.Numbers.Span[0] != one || active != quickActive))
                throw new FindingException($"the quick reader reads {one}, the general one {users.Count} users");
            return Math.Min(users.Count, 3);
        }
        catch (ProblemException problem) when (problem.Status is 400 or 413)
        {
            if (form == UsersForm.OneOrList && quick)
                throw new FindingException($"the quick reader takes what the general one refuses: {problem.Message}");
            return 10 + problem.Message.Length;
        }
    }

    private int ReadLate(ReadOnlySpan<byte> json)
    {
        using var users = new UserBatch();
        try
        {
            if (StatusUpdateReader.Read(json, _known, users) < 0)
                throw new FindingException("a second before 1970 is taken");
            RequireJson(json);
            return 1;
        }
        catch (ProblemException problem) when (problem.Status == 400)
        {
            return 10 + problem.Message.Length;
        }
    }

    private static int ReadMembers(ReadOnlySpan<byte> json)
    {
        try
        {
            var read = MemberReader.ReadText(json, "{}", JsonNames.UserName, JsonNames.DisplayName, JsonNames.Status);
            RequireJson(json);
            return read.Count(static one => one is not null);
        }
        catch (ProblemException problem) when (problem.Status == 400)
        {
            return 10 + problem.Message.Length;
        }
    }

    private static void RequireJson(ReadOnlySpan<byte> json)
    {
        try
        {
            JsonDocument.Parse(json.ToArray()).Dispose();
        }
        catch (JsonException)
        {
            throw new FindingException("what is not JSON is taken");
        }
    }
}
