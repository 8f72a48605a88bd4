using Aglow.AspNetCore.Access;

namespace Aglow.Tests;

/// <summary>The caller whom a connection remembers.</summary>
public class LastCallerTests
{
    private readonly LastCaller _last = new();

    [Fact]
    public void Nothing_but_the_whole_header_finds_the_caller()
    {
        _last.Find("Bearer a.b.c").ShouldBeNull();
        var (one, other) = (Person(1), Person(2));
        _last.Keep("Bearer a.b.c", one);
        _last.Find("Bearer a.b.c").ShouldBeSameAs(one);
        // another string with the same characters, as in HTTP/2
        _last.Find(new string("Bearer a.b.c".AsSpan())).ShouldBeSameAs(one);
        string[] others = ["Bearer a.b.d", "Bearer a.b.cc", "Bearer a.b.", "bearer a.b.c", "Basic a.b.c", "Bearer a.b.C", ""];
        foreach (var different in others)
            _last.Find(different).ShouldBeNull(different);
        _last.Keep("Bearer a.b.d", other);
        _last.Find("Bearer a.b.d").ShouldBeSameAs(other);
        _last.Find("Bearer a.b.c").ShouldBeNull();
    }

    private static Caller Person(long id) => Caller.Person(UserId.Of(id), issuedAt: null, DateTimeOffset.MaxValue.AddYears(-1));
}
