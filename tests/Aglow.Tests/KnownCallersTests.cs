using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;

namespace Aglow.Tests;

/// <summary>Callers whose credential was checked a while ago.</summary>
public class KnownCallersTests
{
    private const int MostOfGeneration = 50_000;

    private readonly ManualTimeProvider _time = new();
    private readonly Dictionary<string, int> _checks = [];
    private readonly KnownCallers _known;

    public KnownCallersTests() => _known = new KnownCallers(CheckAsync, _time);

    [Fact]
    public async Task Who_goes_on_calling_is_checked_once_however_many_others_come_and_go()
    {
        for (var other = 0; other < 4 * MostOfGeneration; other++)
        {
            await CallerAsync($"other {other}");
            if (other % 1_000 == 0)
                await CallerAsync("faithful");
        }

        _checks["faithful"].ShouldBe(1);
        // a caller who sent nothing while two generations filled up was forgotten
        await CallerAsync("other 0");
        _checks["other 0"].ShouldBe(2);
        await CallerAsync($"other {(4 * MostOfGeneration) - 1}");
        _checks[$"other {(4 * MostOfGeneration) - 1}"].ShouldBe(1);
    }

    [Fact]
    public async Task Who_expired_or_was_revoked_is_checked_again()
    {
        var caller = await CallerAsync("a day");
        (await CallerAsync("a day")).ShouldBeSameAs(caller);
        _time.Advance(TimeSpan.FromDays(1) + Caller.Skew);
        var renewed = await CallerAsync("a day");
        renewed.ShouldNotBeSameAs(caller);
        (await CallerAsync("a day")).ShouldBeSameAs(renewed);
        renewed.Revoke();
        await CallerAsync("a day");
        _checks["a day"].ShouldBe(3);
    }

    // Like the gate: looks the caller up, and checks the credential if the caller is unknown.
    private async ValueTask<Caller> CallerAsync(string credential) => _known.Find(credential) ?? await _known.CheckAsync(credential);

    private ValueTask<Caller> CheckAsync(string credential)
    {
        _checks[credential] = _checks.GetValueOrDefault(credential) + 1;
        return new(Caller.Person(UserId.Of(7), issuedAt: null, _time.GetUtcNow() + TimeSpan.FromDays(1)));
    }
}
