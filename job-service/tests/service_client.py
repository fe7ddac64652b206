"""A client of the whole service, as the gateway calls it."""

from contextlib import asynccontextmanager
from datetime import UTC
from types import SimpleNamespace

from job_fakes import until
from weir.job.v1 import dead_letter_service_pb2 as dead_pb
from weir.job.v1 import dead_letter_service_pb2_grpc as dead_grpc
from weir.job.v1 import job_service_pb2 as pb
from weir.job.v1 import job_service_pb2_grpc as pb_grpc

from job_service.domain.job_events import AnswerDelta, Gap, JobEnded, LifecycleRecord, Snapshot
from service_kit.errors import ServiceError
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry


async def answers(client):
    """Tell whether tokens are verified, and prices and targets known."""
    try:
        events = await client.run("warm up")
    except ServiceError:
        return False
    return events[-1].finished.job.state == pb.JOB_STATE_COMPLETED


class Client:
    def __init__(self, stub, issuer, user="user-1", dead_letters=None):
        self.stub, self.issuer, self.user = stub, issuer, user
        self.dead_letters = dead_letters
        # In place of that person's.
        self.token = None

    @property
    def metadata(self):
        token = self.token or self.issuer.person_token(self.user)
        return (("authorization", f"Bearer {token}"),)

    async def create(self, prompt, **changes):
        with rpc_errors():
            response = await self.stub.CreateJob(
                pb.CreateJobRequest(
                    specification=specification("generation_v2", prompt), **changes
                ),
                metadata=self.metadata,
            )
        return response.job

    def start(self, prompt, **changes):
        values = {"specification": specification("chat_completion", prompt), **changes}
        return self.stub.RunJob(
            pb.RunJobRequest(**values),
            metadata=self.metadata,
            timeout=30,
        )

    async def run(self, prompt, **changes):
        with rpc_errors():
            return [event async for event in self.start(prompt, **changes)]

    async def get(self, job_id):
        with rpc_errors():
            response = await self.stub.GetJob(
                pb.GetJobRequest(job_id=job_id), metadata=self.metadata
            )
        return response.job

    async def cancel(self, job_id):
        with rpc_errors():
            response = await self.stub.CancelJob(
                pb.CancelJobRequest(job_id=job_id), metadata=self.metadata
            )
        return response.job

    async def retry(self, job_id, **changes):
        request = pb.RetryJobRequest(job_id=job_id, **changes)
        with rpc_errors():
            return (await self.stub.RetryJob(request, metadata=self.metadata)).job

    async def about_dead_letters(self, method, **values):
        """Call an RPC of `DeadLetterService`."""
        request = getattr(dead_pb, f"{method}Request")(**values)
        with rpc_errors():
            return await getattr(self.dead_letters, method)(request, metadata=self.metadata)

    async def list(self, **changes):
        with rpc_errors():
            return await self.stub.ListJobs(pb.ListJobsRequest(**changes), metadata=self.metadata)

    async def receipt(self, job_id):
        with rpc_errors():
            response = await self.stub.GetReceipt(
                pb.GetReceiptRequest(job_id=job_id), metadata=self.metadata
            )
        return response.receipt

    async def receipt_keys(self):
        """Ask as anybody may: without a token."""
        with rpc_errors():
            return (await self.stub.ListReceiptKeys(pb.ListReceiptKeysRequest())).keys

    async def watch(self, project_id, job_id, after):
        """Follow a job's events, as the use case `WatchJob` gives them."""
        request = pb.WatchJobRequest(project_id=project_id, job_id=job_id, after=after)
        with rpc_errors():
            call = self.stub.WatchJob(request, metadata=self.metadata, timeout=60)
            try:
                async for response in call:
                    yield SimpleNamespace(event=_event(response), cursor=response.cursor)
            finally:
                call.cancel()

    async def reaches(self, job_id, state, seconds=10.0):
        async def there():
            job = await self.get(job_id)
            return job if job.state == state else None

        return await until(there, seconds)


def _event(response):
    match response.WhichOneof("event"):
        case "lifecycle":
            change = response.lifecycle
            moment = change.occurred_at.ToDatetime(UTC)
            return LifecycleRecord(change.seq, change.type, dict(change.details), moment)
        case "delta":
            delta = response.delta
            return AnswerDelta(delta.attempt, delta.number, delta.text)
        case "gap":
            gap = response.gap
            return Gap(gap.attempt, gap.first_missing, gap.last_missing)
        case "snapshot":
            snapshot = response.snapshot
            return Snapshot(snapshot.attempt, snapshot.number, snapshot.text)
        case "ended":
            return JobEnded(response.ended.job)


def specification(type_, prompt):
    return pb.JobSpecification(
        type=type_, model="smol", messages=[{"role": "user", "content": prompt}]
    )


@asynccontextmanager
async def client_of(address, tls, issuer, user="user-1"):
    channel = open_channel(
        address, service="job-service", tls=tls, registry=new_registry("gateway")
    )
    async with channel:
        dead_letters = dead_grpc.DeadLetterServiceStub(channel)
        yield Client(pb_grpc.JobServiceStub(channel), issuer, user, dead_letters)
