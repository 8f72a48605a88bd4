using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Aglow.Benchmarks.Sockets;

/// <summary>The system calls of a load generator with thousands of sockets in one thread: epoll and non-blocking TCP.</summary>
/// <remarks>
/// Rejected: the framework's sockets. They cost the generator several times as much as the measured server, and would be the limit.
/// </remarks>
internal static unsafe partial class Kernel
{
    public const uint Readable = 0x1;
    public const uint Writable = 0x4;

    private const int NonBlocking = 0x800;
    private const int Stream = 1;
    private const int Internet = 2;
    private const int InProgress = 115;
    private const int WouldBlock = 11;
    private const int AddressTaken = 98;
    private const int NoAddressLeft = 99;

    /// <summary>The report of epoll about a descriptor.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    public struct Event
    {
        public uint Events;
        public int Tag;
        public int Unused;
    }

    public static int NewPoll() => Check(EpollCreate(0), "epoll_create1");

    /// <summary>Gets the events so far; waits for some for so long if there are none.</summary>
    public static int Poll(int poll, Event[] events, int milliseconds)
    {
        fixed (Event* into = events)
            return Math.Max(0, EpollWait(poll, into, events.Length, milliseconds));
    }

    /// <summary>Sleeps for a millisecond.</summary>
    public static void Nap() => _ = Sleep(1000);

    public static void Add(int poll, int descriptor, int tag, uint events) => Control(poll, 1, descriptor, tag, events);

    public static void Change(int poll, int descriptor, int tag, uint events) => Control(poll, 3, descriptor, tag, events);

    /// <summary>Starts to connect from 127.0.0.<paramref name="from"/> to a port of 127.0.0.1; returns the descriptor.</summary>
    public static int Connect(int from, int port)
    {
        var descriptor = Check(NewSocket(Internet, Stream | NonBlocking, 0), "socket");
        SetOption(descriptor, 6, 1, 1); // TCP_NODELAY
        SetOption(descriptor, 0, 24, 1); // IP_BIND_ADDRESS_NO_PORT: connect chooses the port, because it knows the other end
        var address = stackalloc byte[16];
        Address(address, from, 0);
        if (Bind(descriptor, address, 16) < 0)
            throw Failed("bind");
        Address(address, 1, port);
        if (ConnectTo(descriptor, address, 16) < 0 && Marshal.GetLastPInvokeError() is var error and not InProgress)
        {
            throw error is AddressTaken or NoAddressLeft
                ? new BenchmarkException($"no port left at 127.0.0.{from}.")
                : Failed("connect");
        }

        return descriptor;
    }

    /// <summary>Sends what fits; returns the number of bytes, or -1 if the connection is lost.</summary>
    public static int Send(int descriptor, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* from = bytes)
        {
            var sent = SendTo(descriptor, from, bytes.Length, 0x4000); // no SIGPIPE
            return sent >= 0 ? (int)sent : Marshal.GetLastPInvokeError() == WouldBlock ? 0 : -1;
        }
    }

    /// <summary>Receives what has arrived. Returns 0 at the end or if the connection is lost, and -1 if there is nothing now.</summary>
    public static int Receive(int descriptor, Span<byte> into)
    {
        fixed (byte* to = into)
        {
            var received = ReceiveFrom(descriptor, to, into.Length, 0);
            return received >= 0 ? (int)received : Marshal.GetLastPInvokeError() == WouldBlock ? -1 : 0;
        }
    }

    /// <summary>Closes at once and without TCP's closing handshake, like a device that vanishes.</summary>
    public static void Reset(int descriptor)
    {
        var linger = stackalloc int[2] { 1, 0 };
        _ = SetSocketOption(descriptor, 1, 13, linger, 8);
        _ = CloseDescriptor(descriptor);
    }

    private static void Control(int poll, int operation, int descriptor, int tag, uint events)
    {
        var what = new Event { Events = events, Tag = tag };
        if (EpollControl(poll, operation, descriptor, &what) < 0)
            throw Failed("epoll_ctl");
    }

    private static void SetOption(int descriptor, int level, int name, int value) =>
        _ = SetSocketOption(descriptor, level, name, &value, 4);

    private static void Address(byte* into, int host, int port)
    {
        var address = new Span<byte>(into, 16);
        address.Clear();
        BinaryPrimitives.WriteInt16LittleEndian(address, Internet);
        BinaryPrimitives.WriteUInt16BigEndian(address[2..], (ushort)port);
        address[4] = 127;
        address[7] = (byte)host;
    }

    private static int Check(int result, string call) => result >= 0 ? result : throw Failed(call);

    private static BenchmarkException Failed(string call) =>
        new(
            $"{call}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}. A process needs a descriptor a socket: see "
                + "ulimit -n.");

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    private static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    private static partial int EpollControl(int poll, int operation, int descriptor, Event* what);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    private static partial int EpollWait(int poll, Event* events, int count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "usleep")]
    private static partial int Sleep(uint microseconds);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int NewSocket(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(int descriptor, byte* address, int length);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static partial int ConnectTo(int descriptor, byte* address, int length);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static partial nint SendTo(int descriptor, byte* from, nint length, int flags);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    private static partial nint ReceiveFrom(int descriptor, byte* into, nint length, int flags);

    [LibraryImport("libc", EntryPoint = "setsockopt")]
    private static partial int SetSocketOption(int descriptor, int level, int name, void* value, int length);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int CloseDescriptor(int descriptor);
}
