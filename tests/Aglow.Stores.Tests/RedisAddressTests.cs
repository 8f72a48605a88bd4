using System.Net;
using Aglow.Redis;

namespace Aglow.Stores.Tests;

public sealed class RedisAddressTests
{
    [Theory]
    [InlineData("10.0.0.1:7000", "10.0.0.1:7000", null, null, false)]
    [InlineData("one:7000, two:7001", "one:7000, two:7001", null, null, false)]
    [InlineData("[::1]:7000", "[::1]:7000", null, null, false)]
    [InlineData("one:7000,user=me,password=a=b@c,ssl=true", "one:7000", "me", "a=b@c", true)]
    [InlineData("redis://one", "one:6379", null, null, false)]
    [InlineData("redis://one:7000,two", "one:7000, two:6379", null, null, false)]
    [InlineData("redis://:secret@[::1]:7000/", "[::1]:7000", null, "secret", false)]
    [InlineData("rediss://me:s3cret%3A%40@one", "one:6379", "me", "s3cret:@", true)]
    public void An_address_says_where_the_servers_are_and_how_to_log_in(
        string text, string servers, string? user, string? password, bool tls)
    {
        var options = RedisAddress.Parse(text);
        RedisAddress.Describe(options).ShouldBe(servers);
        (options.User, options.Password, options.Ssl).ShouldBe((user, password, tls));
    }

    [Fact]
    public void A_connection_string_of_the_library_is_taken_as_it_is()
    {
        var options = RedisAddress.Parse(
            "one:26379,two:26379,serviceName=presence,sslHost=redis.example,protocol=resp3,name=mine,defaultDatabase=3");
        options.ServiceName.ShouldBe("presence");
        options.SslHost.ShouldBe("redis.example");
        options.ClientName.ShouldBe("mine");
        options.DefaultDatabase.ShouldBe(3);
        options.EndPoints.OfType<DnsEndPoint>().Select(server => server.Host).ShouldBe(["one", "two"]);
    }

    [Theory]
    [InlineData("")]
    [InlineData(",")]
    [InlineData("one:7000,,two:7000")]
    [InlineData("one:0")]
    [InlineData("one:65536")]
    [InlineData("one:port")]
    [InlineData("one:7000,two:port")]
    [InlineData("a b:7000")]
    [InlineData("[")]
    [InlineData("ssl=true")]
    [InlineData("one:7000,colour=red")]
    [InlineData("http://one:7000")]
    [InlineData("redis://me@one")]
    [InlineData("redis://")]
    public void What_is_no_address_is_refused_with_what_to_write(string text) =>
        Should.Throw<FormatException>(() => RedisAddress.Parse(text)).Message.ShouldStartWith("set HOST:PORT");
}
