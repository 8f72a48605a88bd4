namespace Aspire.Hosting.ApplicationModel;

/// <summary>An Aglow server of an app host, as a program (<see cref="AglowResource"/>) or as a container.</summary>
/// <remarks>It has a connection string and no service discovery: with both, <c>WithReference(presence)</c> would be ambiguous.</remarks>
public interface IAglowResource : IResourceWithConnectionString, IResourceWithEndpoints, IResourceWithEnvironment, IResourceWithWaitSupport
{
    /// <summary>Where it answers calls, sockets and its page.</summary>
    EndpointReference PrimaryEndpoint { get; }

    /// <summary>The address, as <c>http://HOST:PORT</c>. It is what <c>builder.AddAglowClient(NAME)</c> reads.</summary>
    ReferenceExpression IResourceWithConnectionString.ConnectionStringExpression =>
        ReferenceExpression.Create($"{PrimaryEndpoint.Property(EndpointProperty.Url)}");

    /// <summary>The address, for applications that read single properties: <c>NAME_URI</c>.</summary>
    IEnumerable<KeyValuePair<string, ReferenceExpression>> IResourceWithConnectionString.GetConnectionProperties() =>
        [new("Uri", ConnectionStringExpression)];
}
