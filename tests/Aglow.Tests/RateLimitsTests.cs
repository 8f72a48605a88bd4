using System.Net;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Http;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

/// <summary>How often each caller may call, with a clock that the test advances.</summary>
public class RateLimitsTests
{
    private const int Callers = 3;

    private static readonly IPAddress Address = IPAddress.Parse("192.0.2.9");

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly ManualTimeProvider _time = new();

    [Fact]
    public void Two_seconds_worth_goes_through_at_once_and_then_the_rate()
    {
        var buckets = new RateBuckets(10, _time);
        Take(buckets, 1, 100).ShouldBe(20);
        _time.Advance(TimeSpan.FromMilliseconds(100));
        Take(buckets, 1, 100).ShouldBe(1);
        _time.Advance(Second);
        Take(buckets, 1, 100).ShouldBe(10);
        // a pause of any length fills the bucket with two seconds' worth of calls
        _time.Advance(TimeSpan.FromHours(1));
        Take(buckets, 1, 100).ShouldBe(20);
        Take(buckets, 2, 100).ShouldBe(20, "others have a bucket of their own");
    }

    [Fact]
    public void More_than_a_second_is_worth_passes_a_bucket_that_is_half_full_and_is_paid_off()
    {
        var buckets = new RateBuckets(10, _time);
        Take(buckets, 1, 11).ShouldBe(11);
        buckets.SecondsToWait(1, 100).ShouldBe(1);
        _time.Advance(Second);
        // the bucket has 19 calls now
        buckets.SecondsToWait(1, 100).ShouldBe(0);
        buckets.SecondsToWait(1, 1).ShouldBe(9);
        _time.Advance(8 * Second);
        Take(buckets, 1, 100).ShouldBe(0);
        _time.Advance(Second);
        Take(buckets, 1, 100).ShouldBe(9);
    }

    [Fact]
    public void Several_are_taken_together_or_none_is()
    {
        var buckets = new RateBuckets(10, _time);
        buckets.TryTake(1, 10).ShouldBeTrue();
        buckets.TryTake(1, 5).ShouldBeTrue();
        buckets.TryTake(1, 6).ShouldBeFalse();
        buckets.TryTake(1, 5).ShouldBeTrue();
    }

    [Theory]
    [InlineData(3)]
    [InlineData(7_000_000)]
    public void A_rate_that_the_clock_cannot_divide_is_rounded_down(int perSecond)
    {
        var buckets = new RateBuckets(perSecond, _time);
        buckets.TryTake(1, perSecond).ShouldBeTrue();
        buckets.TryTake(1, perSecond).ShouldBeTrue();
        _time.Advance(Second - TimeSpan.FromTicks(1));
        buckets.TryTake(1, perSecond).ShouldBeFalse();
        buckets.TryTake(1, perSecond / 3).ShouldBeTrue();
    }

    /// <summary>
    /// Several threads call at once, with pauses in between. Exactly as many calls pass as if one thread made them one after another.
    /// </summary>
    [Fact]
    public void However_many_call_at_once_no_more_go_through_than_the_rate_allows()
    {
        var steps = from pause in Gen.Choose(0, 3_000) from calls in Gen.Choose(0, 120) select (Pause: pause, Calls: calls);
        var runs = from rate in Gen.Elements(1, 5, 20, 1000) from run in Gen.ListOf(steps) select (Rate: rate, Steps: run);
        Check.One(Config.QuickThrowOnFailure, Prop.ForAll(Arb.From(runs), run =>
        {
            var time = new ManualTimeProvider();
            var buckets = new RateBuckets(run.Rate, time);
            // in thousandths of a call
            var left = 2_000L * run.Rate;
            foreach (var (pause, calls) in run.Steps)
            {
                time.Advance(TimeSpan.FromMilliseconds(pause));
                left = Math.Min(2_000L * run.Rate, left + ((long)pause * run.Rate));
                var expected = Math.Min(calls * Callers, left / 1000);
                AtOnce(() => Take(buckets, 7, calls)).ShouldBe(expected);
                left -= 1000 * expected;
            }
        }));
    }

    [Fact]
    public void Nor_while_the_clock_moves()
    {
        const int Rate = 1_000;
        var buckets = new RateBuckets(Rate, _time);
        var done = 0;
        var through = AtOnce(() =>
        {
            var taken = Take(buckets, 7, 20_000);
            Interlocked.Increment(ref done);
            return taken;
        }, () =>
        {
            while (Volatile.Read(ref done) < Callers)
                _time.Advance(TimeSpan.FromTicks(1_000));
        });
        // a full bucket, and at most what the rate adds in the time of the calls
        through.ShouldBeInRange(2 * Rate, (2 * Rate) + (Rate * _time.GetTimestamp() / _time.TimestampFrequency));
    }

    [Fact]
    public void Each_of_a_thousand_others_goes_on_while_one_is_refused()
    {
        var limits = new RateLimits(new AccessOptions { CallsPerUser = 5 }, _time);
        Through(() => limits.Charge(Person("fast"), 1), 1_000).ShouldBe(10);
        var others = Enumerable.Range(0, 1_000).Count(i => Through(() => limits.Charge(Person($"other-{i}"), 1), 3) == 3);
        // one in a thousand may share a bucket with the fast one
        others.ShouldBeGreaterThanOrEqualTo(999);
    }

    [Fact]
    public void A_person_a_key_and_registrations_are_counted_apart_and_told_what_to_do()
    {
        var limits = new RateLimits(new AccessOptions { CallsPerUser = 1, CallsPerKey = 2, RegistrationsPerKey = 3 }, _time);
        var (person, key) = (Person("7"), Caller.Backend("user 7", Scopes.All));
        Through(() => limits.Charge(person, 1), 10).ShouldBe(2);
        Through(() => limits.Charge(key, 1), 10).ShouldBe(4);
        Through(() => limits.Charge((Caller?)null, 1), 10).ShouldBe(10);
        Through(() => limits.ChargeRegistrations(person, null, 1), 10).ShouldBe(6);
        // a list that is larger than the bucket passes, and later calls wait until it is paid for
        Through(() => limits.ChargeRegistrations(key, Address, 300), 10).ShouldBe(1);
        Through(() => limits.ChargeRegistrations(key, Address, 0), 10).ShouldBe(10);

        var refused = limits.Charge(person, 1).ShouldNotBeNull();
        (refused.Status, refused.RetryAfter).ShouldBe((429, 1));
        refused.Message.ShouldContain("1 calls a second of this user");
        limits.Charge(key, 1)!.Message.ShouldContain("2 calls a second of this key");
        refused = limits.ChargeRegistrations(key, Address, 1).ShouldNotBeNull();
        refused.Message.ShouldContain("3 new users a second of this key");
        refused.RetryAfter.ShouldBe(99);
        _time.Advance(TimeSpan.FromSeconds(99));
        limits.ChargeRegistrations(key, Address, 1).ShouldBeNull();
    }

    [Fact]
    public void An_address_is_counted_as_one_customer_has_it()
    {
        var limits = new RateLimits(new AccessOptions { CallsPerAddress = 5 }, _time);
        Calls("192.0.2.1").ShouldBe(10);
        Calls("::ffff:192.0.2.1").ShouldBe(0, "the same, as a socket for both versions has it");
        Calls("192.0.2.2").ShouldBe(10);
        Calls("2001:db8:0:1::1").ShouldBe(10);
        Calls("2001:db8:0:1:ffff::2").ShouldBe(0, "the same network of 64 bits");
        Calls("2001:db8:0:2::1").ShouldBe(10);
        limits.Charge((IPAddress?)null, 1).ShouldBeNull();
        limits.Charge(IPAddress.Parse("192.0.2.1"), 1)!.Message.ShouldContain("5 calls a second of this address");

        int Calls(string address) => Enumerable.Range(0, 100).Count(_ => limits.Charge(IPAddress.Parse(address), 1) is null);
    }

    [Fact]
    public void Asking_takes_no_memory()
    {
        var limits = new RateLimits(
            new AccessOptions { CallsPerUser = 1_000_000, CallsPerAddress = 1_000_000, CallsPerKey = 1_000_000 }, TimeProvider.System);
        IPAddress[] addresses = [IPAddress.Parse("192.0.2.1"), IPAddress.Parse("2001:db8::1"), IPAddress.Parse("::ffff:192.0.2.1")];
        var (person, key) = (Person("ann"), Caller.Backend("gateway", Scopes.All));
        ChargeAll();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
            ChargeAll();
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBe(0);

        void ChargeAll()
        {
            foreach (var address in addresses)
                limits.Charge(address, 1);
            limits.Charge(person, 1);
            limits.Charge(key, 1);
        }
    }

    [Fact]
    public void Where_there_is_no_rate_nothing_is_asked()
    {
        var limits = new RateLimits(new AccessOptions(), _time);
        limits.AreOff.ShouldBeTrue();
        Through(() => limits.Charge(Person("7"), 1), 1_000).ShouldBe(1_000);
        Through(() => limits.Charge(IPAddress.Loopback, 1), 1_000).ShouldBe(1_000);
        new RateLimits(new AccessOptions { CallsPerKey = 1 }, _time).AreOff.ShouldBeFalse();
    }

    private static Caller Person(string name)
    {
        UserId.TryParse(name, out var user).ShouldBeTrue();
        return Caller.Person(user, issuedAt: null, DateTimeOffset.MaxValue);
    }

    private static int Take(RateBuckets buckets, int who, int calls) => Enumerable.Range(0, calls).Count(_ => buckets.TryTake(who));

    private static int Through(Func<ProblemException?> charge, int calls) => Enumerable.Range(0, calls).Count(_ => charge() is null);

    // Starts several threads at the same time, runs something else beside them, and returns the sum of what they took.
    private static long AtOnce(Func<int> take, Action? beside = null)
    {
        using var together = new Barrier(Callers);
        var sum = 0L;
        var threads = Enumerable.Range(0, Callers).Select(_ => new Thread(() =>
        {
            together.SignalAndWait();
            Interlocked.Add(ref sum, take());
        })).ToArray();
        foreach (var thread in threads)
            thread.Start();
        beside?.Invoke();
        foreach (var thread in threads)
            thread.Join();
        return sum;
    }
}
