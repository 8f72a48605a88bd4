using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Packages.Tests;

/// <summary>Checks the app host's model of a server without starting it, because that would need containers.</summary>
public class ModelTests
{
    [Fact]
    public async Task A_container_on_containers_gets_their_addresses_and_waits_for_them()
    {
        var builder = DistributedApplication.CreateBuilder(["--publisher", "manifest"]);
        var redis = builder.AddRedis("redis");
        var database = builder.AddPostgres("postgres").AddDatabase("database");
        var presence = builder.AddAglowContainer("presence", "registry.example/aglow", "1.2.3").WithRedis(redis).WithPostgres(database);
        var image = presence.Resource.Annotations.OfType<ContainerImageAnnotation>().Single();
        $"{image.Registry}/{image.Image}:{image.Tag}".ShouldEndWith("registry.example/aglow:1.2.3");
        presence.Resource.PrimaryEndpoint.EndpointAnnotation.TargetPort.ShouldBe(8080);
        var variables = await VariablesAsync(presence.Resource, DistributedApplicationOperation.Publish);
        variables["AGLOW_REDIS"].ShouldBe("{redis.connectionString}");
        variables["AGLOW_POSTGRES"].ShouldBe("{database.connectionString}");
        // what is published takes tokens, as the image does
        variables.ShouldNotContainKey("AGLOW_ALLOW_OPEN");
        presence.Resource.Annotations.OfType<WaitAnnotation>().Select(static wait => wait.Resource.Name)
            .ShouldBe(["redis", "postgres", "database"], ignoreOrder: true);
        presence.Resource.Annotations.OfType<HealthCheckAnnotation>().ShouldHaveSingleItem();
    }

    [Fact]
    public async Task While_people_develop_a_container_is_open_and_a_program_is_on_loopback()
    {
        var builder = DistributedApplication.CreateBuilder(new DistributedApplicationOptions { DisableDashboard = true });
        var container = builder.AddAglowContainer("container", "aglow");
        (await VariablesAsync(container.Resource, DistributedApplicationOperation.Run))["AGLOW_ALLOW_OPEN"].ShouldBe("true");
        var program = builder.AddAglow("presence", port: 8123, command: "/usr/local/bin/aglow-server");
        program.Resource.Command.ShouldBe("/usr/local/bin/aglow-server");
        program.Resource.PrimaryEndpoint.EndpointAnnotation.Port.ShouldBe(8123);
        ((IResourceWithConnectionString)program.Resource).ConnectionStringExpression.ValueExpression
            .ShouldBe("{presence.bindings.http.url}");
        program.Resource.Annotations.OfType<ResourceUrlsCallbackAnnotation>().ShouldNotBeEmpty();
        program.Resource.Annotations.OfType<OtlpExporterAnnotation>().ShouldHaveSingleItem();
    }

    private static async Task<Dictionary<string, string>> VariablesAsync(IResource resource, DistributedApplicationOperation operation)
    {
        var configuration = await ExecutionConfigurationBuilder.Create(resource).WithEnvironmentVariablesConfig()
            .BuildAsync(new DistributedApplicationExecutionContext(operation), NullLogger.Instance, CancellationToken.None);
        return configuration.EnvironmentVariables.ToDictionary(static v => v.Key, static v => v.Value, StringComparer.Ordinal);
    }
}
