"""A server that speaks S3, on loopback, in this process's memory.

In: the name of a bucket. Out: a line with its address once the server has shown that it keeps what
Delta's commits need: a second `If-None-Match: *` put is refused, also when many come at once. Ends
when standard input does. Never: checks credentials; any will do.
"""

import concurrent.futures
import logging
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer


def client(address):
    """A client of its own: they are not shared between threads."""
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"max_attempts": 1}, proxies={}),
    )


def put_if_absent(address, bucket, key, body):
    """True if this put made the object."""
    try:
        client(address).put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:
            return False
        raise
    return True


def main():
    bucket = sys.argv[1]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client(address).create_bucket(Bucket=bucket)
    puts = [(f"probe/{number // 4}", str(number)) for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        won = list(threads.map(lambda put: put_if_absent(address, bucket, *put), puts))
    for group in range(10):
        winners = [put for put, made in zip(puts, won) if made and put[0] == f"probe/{group}"]
        body = client(address).get_object(Bucket=bucket, Key=f"probe/{group}")["Body"].read()
        assert [body.decode()] == [body for _, body in winners], "not put-if-absent"
    print(address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
