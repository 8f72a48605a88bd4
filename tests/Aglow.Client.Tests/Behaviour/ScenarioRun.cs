using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Web;
using Microsoft.Extensions.Time.Testing;

namespace Aglow.Client.Tests.Behaviour;

/// <summary>
/// Runs one scenario of the behaviour suite (clients/behaviour/README.md) against the client: a clock that only the scenario moves, and a
/// server that does what it says.
/// </summary>
internal sealed class ScenarioRun : IAsyncDisposable
{
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(50);

    private readonly FakeTimeProvider _time = new();
    private readonly StepScheduler _scheduler = new();
    private readonly StepServer _server = new();
    private readonly StepMessages _messages = new();
    private readonly List<string> _states = [];
    private readonly List<AglowException> _errors = [];
    private readonly Dictionary<string, StepWatch> _watches = [];
    private readonly Dictionary<string, Task<string>> _promises = [];
    private readonly StepTokens _tokens;
    private readonly HttpClient _http;
    private readonly AglowClient _client;
    private readonly JsonObject _scenario;
    private StepSocket? _socket;
    private AglowException? _lastError;
    private bool _isRecorded;

    public ScenarioRun(JsonObject scenario)
    {
        _scenario = scenario;
        _http = new HttpClient(_server);
        _tokens = new StepTokens(scenario["options"]?["token"] as JsonArray ?? []);
        _client = new AglowClient(Options(scenario["options"]?.AsObject() ?? []));
        _client.Failed += failure => _errors.Add(_lastError = failure);
        _client.StateChanged += state =>
        {
            // the state that other clients are created in
            if (_isRecorded || state != ConnectionState.Connecting)
                _states.Add(Name(state));
            _isRecorded = true;
        };
    }

    public void Run() => WithoutContext(PlaySteps);

    private void PlaySteps()
    {
        var number = 0;
        foreach (var step in _scenario["steps"]!.AsArray())
        {
            var what = $"step {number++}: {step!.ToJsonString()}";
            try
            {
                Do(step.AsObject());
                Settle();
            }
            catch (Exception failure) when (failure is not ScenarioException)
            {
                throw new ScenarioException($"{what}: {failure.Message}", failure);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        var closed = _scheduler.Start(async () =>
        {
            await _client.DisposeAsync();
            return true;
        });
        WithoutContext(() => Until(() => closed.IsCompleted, 60_000, "the client ends"));
        await closed;
        _http.Dispose();
    }

    private AglowClientOptions Options(JsonObject given)
    {
        var token = given["token"];
        var device = given["device"];
        var user = given["user"];
        JsonArray list = given["addresses"]?.AsArray() ?? ["http://presence.example"];
        Uri[] addresses = [.. list.Select(static address => new Uri(address!.GetValue<string>()))];
        return new AglowClientOptions(addresses[0])
        {
            OtherAddresses = addresses[1..],
            User = user is not null ? UserOf(user) : token is null ? UserId.Of(1) : (UserId?)null,
            Token = token is JsonValue ? token.GetValue<string>() : null,
            AccessToken = token is JsonArray ? _ => _tokens.RequestAsync() : null,
            Device = new ClientDevice(
                device?["id"]?.GetValue<string>() ?? "device-1",
                Enum.Parse<DeviceKind>(device?["kind"]?.GetValue<string>() ?? "other", ignoreCase: true)),
            Random = new StepRandom(given["random"]?.GetValue<double>() ?? 0.5),
            TimeProvider = _time,
            Scheduler = _scheduler,
            HttpClient = _http,
            ConnectSocket = _server.DialAsync,
        };
    }

    private void Do(JsonObject step)
    {
        var (name, what) = step.First();
        switch (name)
        {
            case "wait":
                Pass(what!.GetValue<int>());
                break;
            case "freeze":
                _time.Advance(TimeSpan.FromMilliseconds(what!.GetValue<int>()));
                Settle();
                break;
            case "dial":
                Dial(step, what!.GetValue<string>());
                break;
            case "say":
                _socket!.Say(what is JsonValue ? what.GetValue<string>() : _messages.Fill(what!.AsObject()).ToJsonString());
                break;
            case "hear" when what is null:
                _socket!.Received.Select(static m => m.ToJsonString()).ShouldBeEmpty();
                break;
            case "hear":
                Receive(step, what.AsObject());
                break;
            case "close":
                _socket!.Close(what!.GetValue<int>(), step["reason"]?.GetValue<string>() ?? "");
                break;
            case "drop":
                _socket!.Drop();
                break;
            case "mute":
                _socket!.IsMuted = true;
                break;
            case "network":
                _server.Network = what!.GetValue<string>();
                _socket?.IsMuted |= _server.Network != "back";
                break;
            case "call":
                Call(step, what!.GetValue<string>());
                break;
            case "app":
                Send(step, what!.GetValue<string>());
                break;
            case "see":
                Eventually(() => See(step, what!.GetValue<string>()));
                break;
            default:
                throw new ScenarioException($"this runner does not know the step \"{name}\"");
        }
    }

    // ---- time -----------------------------------------------------------------------------------------------------------------

    private void Pass(int milliseconds)
    {
        for (var passed = TimeSpan.Zero; passed.TotalMilliseconds < milliseconds; passed += Slice)
        {
            var rest = TimeSpan.FromMilliseconds(milliseconds) - passed;
            _time.Advance(rest < Slice ? rest : Slice);
            if (_scheduler.Run())
                Settle();
        }
    }

    private void Until(Func<bool> holds, int within, string what)
    {
        Settle();
        for (var passed = 0; !holds(); passed += (int)Slice.TotalMilliseconds)
        {
            if (passed >= within)
            {
                // what another thread still has comes back soon; the scenario's time stands still meanwhile
                Eventually(() => holds().ShouldBeTrue($"not within {within} ms: {what}"));
                return;
            }

            Pass((int)Slice.TotalMilliseconds);
            Settle();
        }
    }

    // The framework hands a few completions to the thread pool. Time must not pass before they are back, or a timeout would come first.
    private void Settle()
    {
        for (var quiet = 0; quiet < 3; quiet++)
        {
            GoThroughPool();
            if (_scheduler.Run())
                quiet = 0;
        }
    }

    // The pool's queue is first in, first out: all that was handed to it before has begun when this returns.
    private static void GoThroughPool()
    {
        var reached = new TaskCompletionSource();
        ThreadPool.UnsafeQueueUserWorkItem(static reached => reached.SetResult(), reached, preferLocal: false);
        reached.Task.Wait();
        Thread.Yield();
    }

    private void Eventually(Action check)
    {
        for (var i = 0; ; i++)
        {
            try
            {
                check();
                return;
            }
            catch (ShouldAssertException) when (i < 5000)
            {
                Thread.Sleep(4);
                Settle();
            }
        }
    }

    // With the context of a test, more completions would go to other threads.
    private static void WithoutContext(Action work)
    {
        var context = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(null);
        try
        {
            work();
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(context);
        }
    }

    // ---- the server -----------------------------------------------------------------------------------------------------------

    private void Dial(JsonObject step, string how)
    {
        Until(() => _server.Dials.Count > 0, step["within"]?.GetValue<int>() ?? 60_000, "a handshake");
        var dial = _server.Dials.Dequeue();
        if (step["at"] is { } at)
            dial.Address.Host.ShouldBe(at.GetValue<string>());
        if (step["query"] is JsonObject query)
        {
            var given = HttpUtility.ParseQueryString(dial.Address.Query);
            foreach (var (name, value) in query)
                given[name].ShouldBe(value!.GetValue<string>());
        }

        if (step.TryGetPropertyValue("token", out var token))
            dial.Token.ShouldBe(token?.GetValue<string>());
        switch (how)
        {
            case "accept" or "welcome":
                _socket = new StepSocket();
                dial.Answer.SetResult(_socket);
                if (how == "accept")
                    break;
                var expires = step["expires_in_seconds"] is { } left ? $",\"expires_in_seconds\":{left}" : "";
                _socket.Say($"{{\"type\":\"welcome\",\"user_id\":1,\"offline_after_seconds\":30,\"tick_seconds\":10{expires}}}");
                break;
            case "refuse":
                using (
                    var answer = StepServer.Answer(
                        step["status"]!.GetValue<int>(), step["problem"], "application/problem+json", step["retry_after"]?.GetValue<int>()))
                    dial.Answer.SetException(
                        ServerCalls.ReadProblemAsync(answer, dial.Address, _time, CancellationToken.None).GetAwaiter().GetResult());
                break;
            case "fail":
                dial.Answer.SetException(new WebSocketException("The network is unreachable."));
                break;
            case "never":
                break;
            default:
                throw new ScenarioException($"this runner does not know how to \"{how}\"");
        }
    }

    private void Receive(JsonObject step, JsonObject expected)
    {
        var type = expected["type"]!.GetValue<string>();
        var socket = _socket!;
        JsonObject? Next() => socket.Received.FirstOrDefault(m => m["type"]!.GetValue<string>() == type);
        Until(
            () => Next() is not null,
            step["within"]?.GetValue<int>() ?? 1000,
            $"a message of type {type}; unheard are {string.Join(", ", socket.Received.Select(static m => m.ToJsonString()))}");
        var message = Next()!;
        socket.Received.Remove(message);
        _messages.Compare(expected, message);
    }

    private void Call(JsonObject step, string path)
    {
        Until(() => _server.Calls.Count > 0, step["within"]?.GetValue<int>() ?? 1000, $"the call {path}");
        var call = _server.Calls.Dequeue();
        $"{call.Request.Method} {call.Request.RequestUri!.AbsolutePath}".ShouldBe(path);
        if (step["at"] is { } at)
            call.Request.RequestUri.Host.ShouldBe(at.GetValue<string>());
        var body = JsonNode.Parse(call.Body)!.AsObject();
        if (step["body"] is JsonObject expected)
        {
            _messages.Compare(expected, body);
            body.ContainsKey("user_id").ShouldBe(expected.ContainsKey("user_id"));
        }

        if (step["fail"] is not null)
            call.Answer.SetException(new HttpRequestException("The network is unreachable."));
        else if (step["never"] is null)
            call.Answer.SetResult(
                StepServer.Answer(
                    step["status"]?.GetValue<int>() ?? 200,
                    step["problem"] ?? step["answer"] ?? JsonNode.Parse("{\"status\":\"success\"}"),
                    step["problem"] is null ? "application/json" : "application/problem+json",
                    step["retry_after"]?.GetValue<int>()));
    }

    // ---- the application ------------------------------------------------------------------------------------------------------

    private void Send(JsonObject step, string what)
    {
        switch (what)
        {
            case "connect":
                Start(() => _client.ConnectAsync());
                break;
            case "watch":
                var watch = new StepWatch(
                    _scheduler,
                    _client,
                    [.. step["users"]!.AsArray().Select(static u => UserOf(u!))],
                    step["definition"]?.GetValue<string>());
                _watches[step["as"]!.GetValue<string>()] = watch;
                break;
            case "stop":
                _watches[step["watch"]!.GetValue<string>()].Stop();
                break;
            case "setStatus":
                var status = Enum.Parse<ManualStatus>(step["status"]!.GetValue<string>(), ignoreCase: true);
                var details = StepMessages.Details(step["said"]);
                Promise(step, async () => (await _client.SetStatusAsync(status, details)).ToString().ToLowerInvariant());
                break;
            case "heartbeat":
                Promise(step, async () => (await _client.HeartbeatAsync()).NextIn > TimeSpan.Zero ? "sent" : "");
                break;
            case "active":
                Start(() => _client.ActiveAsync());
                break;
            case "leave":
                Promise(step, async () => await _client.LeaveAsync() == LeaveOutcome.Left ? "left" : "lease");
                break;
            case "close":
                Start(() => _client.DisposeAsync().AsTask());
                break;
            case "refresh":
                Start(() => _client.RefreshAsync());
                break;
            case "resume":
                _client.Resume();
                break;
            default:
                throw new ScenarioException($"this runner does not know the call \"{what}\"");
        }
    }

    private void Promise(JsonObject step, Func<Task<string>> call)
    {
        var task = _scheduler.Start(call);
        if (step["as"] is { } name)
            _promises[name.GetValue<string>()] = task;
    }

    private void Start(Func<Task> call) => _ = _scheduler.Start(async () =>
    {
        await call().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        return true;
    });

    // ---- what is to be seen ---------------------------------------------------------------------------------------------------

    private void See(JsonObject step, string what)
    {
        switch (what)
        {
            case "state":
                Name(_client.State).ShouldBe(step["is"]!.GetValue<string>());
                break;
            case "states":
                Take(_states, step["are"]!.AsArray().Select(static s => s!.GetValue<string>()));
                break;
            case "record":
                _watches[step["watch"]!.GetValue<string>()].SeeRecord(UserOf(step["user"]!), step);
                break;
            case "told":
                Take(
                    _watches[step["watch"]!.GetValue<string>()].Received,
                    step["are"]!.AsArray().Select(static t => $"{UserOf(t![0]!)}:{t[1]!.GetValue<string>()}"));
                break;
            case "errors":
                var titles = step["are"]!.AsArray().Select(static t => t!.GetValue<string>()).ToArray();
                _errors.Count.ShouldBe(titles.Length, string.Join(", ", _errors.Select(static e => e.Message)));
                for (var i = 0; i < titles.Length; i++)
                    _errors[i].Title.ShouldContain(titles[i]);
                _errors.Clear();
                break;
            case "detail":
                _lastError.ShouldNotBeNull().Detail.ShouldContain(step["has"]!.GetValue<string>());
                break;
            case "reason":
                var reason = _client.Refusal.ShouldNotBeNull();
                reason.Title.ShouldContain(step["title"]?.GetValue<string>() ?? "");
                reason.Detail.ShouldContain(step["detail"]?.GetValue<string>() ?? "");
                break;
            case "promise":
                SeePromise(step, _promises[step["of"]!.GetValue<string>()]);
                break;
            case "dials":
                Count(step, ref _server.DialCount);
                break;
            case "tokens":
                Count(step, ref _tokens.Count);
                break;
            case "calls":
                Count(step, ref _server.CallCount);
                break;
            case "socket":
                _socket!.Client.IsClosed.ShouldBe(step["is"]!.GetValue<string>() == "closed");
                if (step["code"] is { } code)
                    _socket.Client.Code.ShouldBe(code.GetValue<int>());
                break;
            default:
                throw new ScenarioException($"this runner cannot see \"{what}\"");
        }
    }

    private static void SeePromise(JsonObject step, Task<string> promise)
    {
        var state = promise.IsCompletedSuccessfully ? "done" : promise.IsCompleted ? "failed" : "pending";
        state.ShouldBe(step["is"]!.GetValue<string>(), promise.Exception?.Message);
        if (step["with"] is not { } with)
            return;
        if (state == "done")
            promise.Result.ShouldBe(with.GetValue<string>());
        else
            promise.Exception!.InnerException!.Message.ShouldContain(with.GetValue<string>());
    }

    private static void Take(List<string> seen, IEnumerable<string> expected)
    {
        seen.ShouldBe(expected);
        seen.Clear();
    }

    private static void Count(JsonObject step, ref int count)
    {
        if (step["is"] is { } exactly)
            count.ShouldBe(exactly.GetValue<int>());
        else
            count.ShouldBeInRange(step["from"]!.GetValue<int>(), step["to"]!.GetValue<int>());
        count = 0;
    }

    private static string Name(ConnectionState state) => state.ToString().ToLowerInvariant();

    private static UserId UserOf(JsonNode node) => node.AsValue().TryGetValue<int>(out var number) ? number : node.GetValue<string>();
}
